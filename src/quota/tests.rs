#![allow(clippy::unwrap_used)]

use super::*;

fn meters(requests: u32, tokens: u32, parallel: u32) -> Arc<Meters> {
    Arc::new(Meters::new(&Limits {
        models: Vec::new(),
        requests_per_minute: NonZeroU32::new(requests),
        tokens_per_minute: NonZeroU32::new(tokens),
        parallel: NonZeroU32::new(parallel),
    }))
}

#[test]
fn requests_a_minute_are_counted_and_the_wait_is_told() {
    let meters = meters(2, 0, 0);
    drop((meters.admit(0).unwrap(), meters.admit(0).unwrap()));
    let refusal = Refusal::from(meters.admit(0).unwrap_err());
    let wait = refusal.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(30) && wait > Duration::from_secs(25), "{wait:?}");
    assert_eq!(refusal.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refusal.headers.iter().any(|(name, value)| name == REMAINING_REQUESTS && value == "0"));
}

#[test]
fn parallel_requests_are_given_back_when_dropped() {
    let meters = meters(0, 0, 1);
    let first = meters.admit(0).unwrap();
    assert!(matches!(meters.admit(0).unwrap_err().exceeded, Exceeded::Parallel(_)));
    drop(first);
    meters.admit(0).unwrap().settle(5);
    assert_eq!(meters.running(), 0);
}

#[test]
fn a_reservation_is_refunded_to_what_was_used() {
    let meters = meters(0, 1000, 0);
    let permit = meters.admit(900).unwrap();
    assert!(matches!(meters.admit(900).unwrap_err().exceeded, Exceeded::Tokens(..)));
    permit.settle(10);
    drop(meters.admit(900).unwrap());
    assert!(matches!(meters.admit(1001).unwrap_err().exceeded, Exceeded::TooLarge(..)));
}

#[test]
fn more_than_reserved_is_charged_as_a_debt() {
    let meters = meters(0, 1000, 0);
    meters.admit(100).unwrap().settle(1500);
    let Exceeded::Tokens(_, wait) = meters.admit(1).unwrap_err().exceeded else { panic!("not a token limit") };
    assert!(wait > Duration::from_secs(29), "{wait:?}");
}

#[test]
fn a_refused_request_leaves_nothing_behind() {
    let meters = meters(1, 1000, 0);
    meters.admit(10).unwrap().settle(10);
    for _ in 0..50 {
        assert!(matches!(meters.admit(900).unwrap_err().exceeded, Exceeded::Requests(..)));
    }
    assert!(meters.tokens.as_ref().unwrap().remaining().0 >= 989);
    assert_eq!(meters.running(), 0);
}

#[test]
fn durations_read_as_openai_writes_them() {
    let cases = [(0, "0s"), (12, "12ms"), (1500, "1.5s"), (60_000, "1m0s"), (372_400, "6m12s")];
    for (ms, expected) in cases {
        assert_eq!(openai_duration(Duration::from_millis(ms)), expected);
    }
}

#[test]
fn tokens_are_charged_while_a_request_runs_and_not_again_at_its_end() {
    let meters = meters(0, 1000, 0);
    let mut permit = meters.admit(0).unwrap();
    permit.charge(600).unwrap();
    let Exceeded::Tokens(_, wait) = permit.charge(600).unwrap_err().exceeded else { panic!("not a token limit") };
    assert!(wait > Duration::from_secs(11) && wait < Duration::from_secs(13), "{wait:?}");
    permit.settle(1200);
    let Exceeded::Tokens(_, wait) = meters.admit(1).unwrap_err().exceeded else { panic!("not a token limit") };
    assert!(wait < Duration::from_secs(13), "{wait:?}");
}
