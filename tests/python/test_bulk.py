"""The same repair of many messages: on the list as it was chosen, whoever is still there to look at it."""

import time

import pytest

import tokens
from mub1 import Client, Worker

CONFIG = '[queues."*"]\nordering = "none"\n'


def begin(broker, queue, key, action, **more):
    body = {"key": key, "action": action, "reason": "test", **more}
    return broker.admin("POST", f"/v1/queues/{queue}/bulk", body)


def not_begun(broker, queue, key, action, **more):
    return broker.refused("POST", f"/v1/queues/{queue}/bulk", {"key": key, "action": action, "reason": "test", **more})


def ended(broker, key):
    def look():
        view = broker.admin("GET", f"/v1/bulk/{key}")
        return view if view["state"] not in ("choosing", "running") else None
    return broker.until(f"{key} is over", look)


def results(broker, key, **asked):
    found, start = [], 0
    while start is not None:
        query = "&".join(f"{name}={value}" for name, value in {**asked, "from": start, "limit": 3}.items())
        page = broker.admin("GET", f"/v1/bulk/{key}/results?{query}")
        found += page["results"]
        start = page.get("next")
    return found


def items(*seqs):
    return [{"seq": seq, "revision": 0} for seq in seqs]


@pytest.fixture
def blocked(make_broker):
    """A broker with ten messages in `q`, of which 1 to 6 are blocked."""
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        for n in range(1, 11):
            client.send("q", b'{"n":%d}' % n, id=f"m{n}")
    with Worker(broker, "q", credit=6) as worker:
        for n in range(6):
            worker.nack(worker.take()[0], f"no {n}", action="block")
    broker.until("six are blocked", lambda: broker.queue("q")["blocked"] == 6)
    broker.cli("queue", "pause", "q")
    return broker


def test_each_message_of_the_list_is_repaired_as_it_was_seen_or_not_at_all(blocked):
    broker = blocked
    # Message 2 changes after the list was made, message 3 is taken out, message 7 isn't blocked.
    edit = {"payload": {"encoding": "utf8", "data": "{}"}, "action": "save", "key": "e", "expect_revision": 0}
    broker.admin("POST", "/v1/queues/q/messages/2/repair", edit)
    broker.cli("message", "cancel", "q", "3", "--reason", "gone")
    begun = begin(broker, "q", "night-1", "retry", items=items(1, 2, 3, 4, 7, 99))
    assert (begun["chosen"], begun["state"], begun["by"]["via"]) == (6, "running", "api")
    view = ended(broker, "night-1")
    assert (view["state"], view["done"], view["refused"]) == ("done", 2, 4)
    told = {result["seq"]: result["outcome"] for result in results(broker, "night-1")}
    assert (told[1]["result"], told[1]["state"], told[1]["id"]) == ("done", "ready", "m1")
    assert told[2]["refusal"]["code"] == "changed" and told[2]["refusal"]["data"]["current"] == 1
    assert told[2]["now"] == {"state": "blocked", "revision": 1}
    assert told[3]["refusal"]["code"] == "state" and told[3]["now"]["state"] == "cancelled"
    assert told[7]["refusal"]["code"] == "state" and told[7]["now"]["state"] == "ready"
    assert told[99]["refusal"]["code"] == "no_such_message" and "now" not in told[99]
    assert [result["seq"] for result in results(broker, "night-1", refused="true")] == [2, 3, 7, 99]
    assert [result["seq"] for result in results(broker, "night-1", refused="false")] == [1, 4]
    # Each has its entry, as a single repair has, and its own key.
    entries = broker.admin("GET", "/v1/journal?queue=q&seq=4")["entries"]
    entry = entries[0]
    assert (entry["number"], entry["kind"], entry["key"], entry["reason"]) == (
        told[4]["journal"], "retried", "night-1/4", "test")
    assert entry["actor"] == begun["by"]
    assert broker.admin("GET", "/v1/repairs/night-1%2F4")["seq"] == 4
    # The same again is the same; another one is refused.
    assert begin(broker, "q", "night-1", "retry", items=items(1, 2, 3, 4, 7, 99))["done"] == 2
    assert not_begun(broker, "q", "night-1", "retry", items=items(5))["code"] == "key_reused"
    assert [view["key"] for view in broker.admin("GET", "/v1/bulk")] == ["night-1"]
    # After a restart nobody knows of it, and under its key nothing is done twice.
    broker.stop()
    broker.start()
    assert broker.refused("GET", "/v1/bulk/night-1")["code"] == "not_found"
    begin(broker, "q", "night-1", "retry", items=items(1, 4))
    assert ended(broker, "night-1")["done"] == 2
    assert all(result["outcome"]["repeated"] for result in results(broker, "night-1"))
    assert len(broker.admin("GET", "/v1/journal?queue=q&seq=4")["entries"]) == len(entries)


def test_a_filter_is_frozen_by_the_broker_and_counted(blocked):
    broker = blocked
    begin(broker, "q", "b1", "cancel", filter={"state": "blocked", "path": "n=2"}, expect=2)
    view = ended(broker, "b1")
    assert (view["state"], view["chosen"], view["done"]) == ("failed", 1, 0)
    assert "takes 1 messages, and 2 were expected: nothing was done" in view["note"]
    begin(broker, "q", "b2", "cancel", filter={"state": "blocked", "path": "n=2"}, expect=1)
    assert ended(broker, "b2")["done"] == 1
    begin(broker, "q", "b3", "dead-letter", filter={"filter": "body.n > 8"})
    assert ended(broker, "b3")["done"] == 2
    assert [result["outcome"]["moved"] for result in results(broker, "b3")] == [
        {"queue": "q.dead", "seq": 1}, {"queue": "q.dead", "seq": 2}]
    begin(broker, "q.dead", "b4", "move", filter={})
    assert ended(broker, "b4")["done"] == 2
    assert [result["outcome"]["moved"]["queue"] for result in results(broker, "b4")] == ["q", "q"]
    begin(broker, "q", "b5", "restore", filter={"state": "cancelled"})
    assert ended(broker, "b5")["done"] == 1
    begin(broker, "q", "b6", "move", filter={"state": "blocked"}, to="elsewhere")
    assert ended(broker, "b6")["done"] == 6
    moved = broker.admin("GET", "/v1/queues/elsewhere/messages")["messages"]
    assert [row["id"] for row in moved] == [f"m{n}" for n in range(1, 7)], "in their order"


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(blocked):
    broker = blocked
    before = broker.admin("GET", "/v1/journal")["entries"][0]["number"]
    for action, more, possible in [("retry", {}, [1]), ("move", {"to": "other"}, [1, 7]), ("move", {"to": "q"}, []),
                                   ("move", {}, []), ("dead-letter", {}, [1, 7]), ("undo-save", {}, []),
                                   ("cancel", {}, [1, 7]), ("restore", {}, [])]:
        key = f"dry-{action}-{len(possible)}{len(more)}"
        begin(broker, "q", key, action, items=items(1, 7, 99), dry_run=True, **more)
        view = ended(broker, key)
        assert (view["done"], view["refused"]) == (len(possible), 3 - len(possible)), (action, view)
        found = [result["seq"] for result in results(broker, key) if result["outcome"]["result"] == "possible"]
        assert found == possible, action
    assert broker.admin("GET", "/v1/journal")["entries"][0]["number"] == before
    assert broker.queue("q")["blocked"] == 6
    assert broker.refused("GET", "/v1/queues/other")["code"] == "no_such_queue"


def test_it_keeps_to_its_rate_and_can_be_stopped(blocked):
    broker = blocked
    begun = time.monotonic()
    begin(broker, "q", "slow", "retry", items=items(1, 2, 3), rate=4)
    assert ended(broker, "slow")["done"] == 3
    assert time.monotonic() - begun >= 0.5
    begin(broker, "q", "stopped", "retry", items=items(4, 5, 6), rate=1)
    broker.until("one is done", lambda: broker.admin("GET", "/v1/bulk/stopped")["done"] == 1)
    broker.admin("POST", "/v1/bulk/stopped/stop")
    view = ended(broker, "stopped")
    assert (view["state"], view["done"], view["refused"]) == ("stopped", 1, 0)
    assert view["note"].endswith("stopped it")
    assert broker.queue("q")["blocked"] == 2
    assert broker.refused("POST", "/v1/bulk/none/stop")["code"] == "not_found"


def test_what_is_wrong_with_a_request_is_told(blocked):
    broker = blocked
    for more, told in [({}, "`items` or `filter` is missing"), ({"items": [], "filter": {}}, "not both"),
                       ({"items": items(1, 1)}, "a message twice"), ({"items": items(1), "expect": 1}, "`expect` is for"),
                       ({"items": items(1), "to": "x"}, "`to` is for `move`"), ({"filter": {"satte": "x"}}, "satte"),
                       ({"items": items(*range(1, 10_002))}, "at most 10000"), ({"items": [], "rate": 0}, "rate")]:
        problem = not_begun(broker, "q", "k", "retry", **more)
        assert problem["code"] == "invalid" and told in problem["detail"], problem
    assert "at most 100" in not_begun(broker, "q", "k" * 101, "retry", items=[])["detail"]
    assert "needs a `reason`" in not_begun(broker, "q", "k", "cancel", items=[], reason=" ")["detail"]
    assert not_begun(broker, "none", "k", "retry", items=[])["code"] == "no_such_queue"
    for n in range(4):
        begin(broker, "q", f"long-{n}", "retry", items=items(*range(20, 60)), rate=1)
    assert not_begun(broker, "q", "fifth", "retry", items=[])["code"] == "busy"
    for n in range(4):
        broker.admin("POST", f"/v1/bulk/long-{n}/stop")
        assert ended(broker, f"long-{n}")["state"] == "stopped"


def test_each_action_needs_its_right_to_its_end(make_broker):
    made = {role: tokens.make(role, role) for role in ["viewer", "operator", "editor"]}
    made["eu"] = tokens.make("eu", "editor", "--queues", "eu.*")
    broker = make_broker(tokens.config([line for _, line in made.values()])).start()
    with Client(broker) as client:
        for n in range(5):
            client.send("eu.a", b"{}", dead_letter={"queue": "us.a"})
        client.send("us.a", b"{}")

    def ask(who, method, path, body=None):
        return tokens.ask(broker, made[who][0], method, path, body)[:2]

    def bulk(who, queue, action, key, **more):
        body = {"key": key, "action": action, "reason": "test", **more}
        return ask(who, "POST", f"/v1/queues/{queue}/bulk", body)

    assert bulk("viewer", "eu.a", "retry", "v", items=[])[0] == 403
    assert bulk("operator", "eu.a", "cancel", "o", items=[])[0] == 403
    assert bulk("operator", "eu.a", "retry", "o", items=[])[0] == 202
    assert ask("operator", "POST", "/v1/bulk/o/stop")[0] == 200
    assert ask("viewer", "POST", "/v1/bulk/o/stop")[0] == 403
    assert bulk("eu", "us.a", "retry", "u", items=[])[0] == 403
    assert bulk("eu", "eu.a", "move", "u", items=[], to="us.a")[0] == 403
    # A header may say that it came from elsewhere.
    assert bulk("eu", "eu.a", "move", "back", items=items(1))[0] == 202
    assert ended(broker, "back")["refused"] == 1
    assert "back" in [view["key"] for view in ask("eu", "GET", "/v1/bulk")[1]]
    outcome = ask("eu", "GET", "/v1/bulk/back/results")[1]["results"][0]["outcome"]
    assert "us.a, which is not among the queues" in outcome["refusal"]["data"]["reason"]
    # Others' are not seen.
    begin(broker, "us.a", "us", "cancel", items=items(1))
    assert ask("eu", "GET", "/v1/bulk/us")[0] == 404
    assert "us" not in [v["key"] for v in ask("eu", "GET", "/v1/bulk")[1]]
    # A token that counts no more repairs nothing more.
    assert bulk("editor", "eu.a", "cancel", "left", items=items(2, 3, 4, 5), rate=1)[0] == 202
    broker.until("one is done", lambda: broker.admin("GET", "/v1/bulk/left")["done"] >= 1)
    broker.admin("POST", "/v1/tokens/editor/revoke")
    view = ended(broker, "left")
    assert view["state"] == "stopped" and "counts no more" in view["note"] and view["done"] < 4
