"""Lists over the admin API: filtered, in pages of which each looks at so much only; and the errors in groups."""

import json
from urllib.parse import quote, urlencode

from mub1 import Client, Worker

COUNT = 6000


def listed(broker, queue, **asked):
    """All pages of a list; their rows, and how many pages there were."""
    rows, pages, start = [], 0, 1
    while start is not None:
        query = urlencode({**asked, "from": start})
        page = broker.admin("GET", f"/v1/queues/{queue}/messages?{query}")
        rows += page["messages"]
        pages, start = pages + 1, page.get("next")
    return rows, pages


def seqs(broker, queue, **asked):
    return [row["seq"] for row in listed(broker, queue, **asked)[0]]


def fail(broker, queue, errors):
    """Each message fails with the next of these, for good."""
    with Worker(broker, queue, credit=len(errors)) as worker:
        for error in errors:
            header, _ = worker.take()
            worker.nack(header, error, action="block")


def test_a_list_is_filtered_by_header_body_and_expression(make_broker):
    broker = make_broker('[queues."*"]\nordering = "none"\n').start()
    bodies = [b'{"a":{"b":[1,"x"]},"n":1.10}', b'{"a":{"b":[2]},"id":12345678901234567890123}', b"no JSON", b"[]"]
    with Client(broker) as client:
        for n, body in enumerate(bodies):
            client.send("q", body, type="even" if n % 2 == 0 else "odd", headers={"tenant": f"t{n}"})
    assert seqs(broker, "q") == [1, 2, 3, 4]
    assert seqs(broker, "q", header="type=odd") == [2, 4]
    assert seqs(broker, "q", header="tenant=t2") == [3]
    assert seqs(broker, "q", path="$.a.b[0]=1") == [1]
    assert seqs(broker, "q", path="a.b[-1]") == [1, 2]
    assert seqs(broker, "q", path="n=1.1") == [1]
    assert seqs(broker, "q", path="id=12345678901234567890123") == [2]
    assert seqs(broker, "q", path="id=12345678901234567890124") == []
    assert seqs(broker, "q", filter="body.a.b.exists(x, x == 2)") == [2]
    assert seqs(broker, "q", filter="header.type == 'odd'", path="$") == [2, 4]
    assert seqs(broker, "q", older_ms=3_600_000) == []
    assert seqs(broker, "q", newer_ms=3_600_000, state="ready") == [1, 2, 3, 4]
    for wrong, told in [("header=x", "FIELD=VALUE"), ("path=a..b", "write $.customer.name"), ("filter=1%2B1", "true or false"),
                        ("group=12", "12 hexadecimal digits"), ("older_ms=-1", "older_ms"), ("state=lost", "state")]:
        problem = broker.refused("GET", f"/v1/queues/q/messages?{wrong}")
        assert problem["code"] == "invalid" and told in problem["detail"], problem


def test_a_page_of_a_long_queue_looks_at_so_much_only_and_says_where_to_go_on(make_broker):
    broker = make_broker('[queues."*"]\nordering = "none"\n').start()
    with Client(broker) as client:
        for start in range(0, COUNT, 500):
            headers = [{"queue": "long", "id": f"m{n}", "type": "last" if n == COUNT - 1 else "other"}
                       for n in range(start, start + 500)]
            frames = [frame for header in headers for frame in (json.dumps(header).encode(), b"{}")]
            assert client.ask("SENDMANY", *frames)[0] == "ACCEPTED"
    page = broker.admin("GET", "/v1/queues/long/messages?" + urlencode({"header": "type=last"}))
    assert page["messages"] == [] and 256 < page["next"] <= 2_305, page["next"]
    rows, pages = listed(broker, "long", header="type=last")
    assert [row["seq"] for row in rows] == [COUNT] and pages >= COUNT // 2_304
    rows, pages = listed(broker, "long", limit=500)
    assert [row["seq"] for row in rows] == list(range(1, COUNT + 1)) and pages == COUNT // 500
    # What failed is found without looking through the rest.
    with Worker(broker, "long", credit=10) as worker:
        taken = [worker.take()[0] for _ in range(10)]
        worker.nack(taken[9], "bad", action="block")
        broker.until("one is blocked", lambda: broker.queue("long")["blocked"] == 1)
        page = broker.admin("GET", "/v1/queues/long/messages?state=blocked")
        assert ([row["seq"] for row in page["messages"]], page.get("next")) == ([10], None)
        page = broker.admin("GET", "/v1/queues/long/messages?state=leased&limit=5")
        assert ([row["seq"] for row in page["messages"]], page["next"]) == ([1, 2, 3, 4, 5], 6)


def test_errors_that_differ_in_what_they_name_are_one_group(make_broker):
    broker = make_broker('[queues."*"]\nordering = "none"\n').start()
    with Client(broker) as client:
        for n in range(6):
            client.send("q", b"%d" % n)
    fail(broker, "q", ["invoice INV-1 has no 'vat'", "timeout after 30 s", "invoice INV-22 has no 'date'",
                       "timeout after 4 s", "invoice 7 has no 'x'", "no such host"])
    broker.until("six are blocked", lambda: broker.queue("q")["blocked"] == 6)
    page = broker.admin("GET", "/v1/queues/q/errors")
    assert page.get("next") is None
    told = [(group["count"], group["first"], group["last"]) for group in page["groups"]]
    assert told == [(3, 1, 5), (2, 2, 4), (1, 6, 6)]
    patterns = [group["pattern"].split(": ", 1)[1] for group in page["groups"]]
    assert patterns == ["invoice # has no '…'", "timeout after # s", "no such host"]
    assert page["groups"][0]["example"]["message"] == "invoice INV-1 has no 'vat'"
    assert page["groups"][0]["first_at"] <= page["groups"][0]["last_at"]
    group = page["groups"][0]["group"]
    assert seqs(broker, "q", group=group) == [1, 3, 5]
    assert seqs(broker, "q", group=group, limit=1) == [1, 3, 5]
    assert seqs(broker, "q", group=group, state="ready") == []
    assert broker.admin("GET", "/v1/queues/q/errors?from=4")["groups"][0]["count"] == 1
    assert broker.refused("GET", "/v1/queues/none/errors")["code"] == "no_such_queue"


def test_queues_come_page_by_page(broker):
    with Client(broker) as client:
        for n in range(7):
            client.send(f"a.{n}", b"{}")
            client.send(f"b.{n}", b"{}")
    names, after = [], 0
    while True:
        page = broker.admin("GET", f"/v1/queues?prefix={quote('a.')}&limit=3&after={after}")
        names.append([queue["name"] for queue in page])
        if len(page) < 3:
            break
        after = page[-1]["number"]
    assert names == [["a.0", "a.1", "a.2"], ["a.3", "a.4", "a.5"], ["a.6"]]
