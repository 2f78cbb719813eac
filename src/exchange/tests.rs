use super::*;

/// Of what a function's call takes room for while it runs.
fn room<A, B, C, D, E, F: Future>(_: fn(A, B, C, D, E) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_request_carries_no_room_for_what_mostly_does_not_happen() {
    let room = room(serve);
    assert!(room <= 6 << 10, "a request takes {room} bytes, which are copied: put what is rare in a place of its own (Box::pin)");
}
