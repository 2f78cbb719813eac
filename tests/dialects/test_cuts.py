"""What is held against callers of streams that break off: it sees an end that was never said, a text that was never said, and silence."""

import json
import re

import pytest

import cuts
import loops
import meaning
import short
from clients import Seen
from recorded import DIALECTS

TEXTS = {"Hello there!"}
ERROR = (None, "The stream broke off.")


def test_an_error_behind_what_came_is_right():
    assert cuts.check(Seen("Hello ", error=ERROR), False, TEXTS) == ""
    assert cuts.check(Seen("", error=ERROR), False, TEXTS) == ""


@pytest.mark.parametrize("seen", [
    Seen("Hello ", finish="stop"), Seen("Hello there!", finish="stop"), Seen("Hello ", finish="length"), Seen("Hello "), Seen("Hello ", finish="stop", error=ERROR),
    Seen("Hello you", error=ERROR), Seen("Hello there! And", error=ERROR)], ids=str)
def test_a_clean_end_silence_and_words_of_nobody_are_seen(seen):
    assert cuts.check(seen, False, TEXTS)


def test_behind_its_finish_an_answer_may_end_but_has_to_be_whole():
    assert cuts.check(Seen("Hello there!", finish="stop"), True, TEXTS) == ""
    assert cuts.check(Seen("Hello there!", error=ERROR), True, TEXTS) == ""
    assert cuts.check(Seen("Hello ", finish="stop"), True, TEXTS)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_event_of_a_short_stream_has_an_end(dialect):
    body = short.ANSWERS[f"{dialect} tools"](True).body
    places = cuts.ends_of_events(body, dialect)
    # An event for each piece at least, and none behind the last.
    assert len(places) >= 3 and places == sorted(set(places)) and places[-1] < len(body)
    ended = [bool(re.search(cuts.ENDS[dialect], body[:at])) for at in places]
    assert not ended[0] and ended == sorted(ended)


def test_places_are_spread_over_all_of_a_stream():
    assert cuts.spread(list(range(5)), 8) == list(range(5))
    chosen = cuts.spread(list(range(100)), 8)
    assert len(chosen) == 8 and chosen[0] == 0 and chosen[-1] == 99


@pytest.mark.parametrize("kind", [kind for kind in short.SAID if kind != "broken"])
def test_a_short_answer_that_is_read_otherwise_is_seen(kind):
    said = short.SAID[kind]

    class Client:
        def ask(self, _model, _stream, seen):
            seen.text, seen.reasoning, seen.calls = "".join(said.text), "".join(said.thoughts), list(said.calls)
            seen.finish, seen.usage = said.finish, short.USAGE
            self.change(seen)

    def told(change):
        client = Client()
        client.change = change
        return short.check(client, "openai_chat", kind, True)

    assert told(lambda seen: None) == ""
    for member, value in {"text": "Bye", "finish": "other", "usage": (0, 0), "calls": [("x", {})], "error": ERROR}.items():
        assert told(lambda seen, member=member, value=value: setattr(seen, member, value)), member


def test_pieces_of_a_stream_are_put_together():
    body = short.ANSWERS["anthropic_messages reasoned"](True).body
    whole = loops.together("anthropic_messages", body, "streamed")
    assert whole["content"] == json.loads(short.ANSWERS["anthropic_messages reasoned"](False).body)["content"]
    read = meaning.READ["anthropic_messages"]({"messages": [{"role": "assistant", "content": whole["content"]}]})
    assert read.reasoning == [(0, "Theyask.", short.SIGNATURE)] and read.turns[0][3:] == ("get_weather", '{"city": "Paris"}')
