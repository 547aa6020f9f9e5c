"""The command line over many messages: which, how many, what came of each."""

import json
import os
import pty
import signal
import subprocess

import pytest

from mub1 import BINARY, PATIENCE, Client, Worker

CONFIG = '[queues."*"]\nordering = "none"\n'


@pytest.fixture
def blocked(make_broker):
    """A broker with eight messages in `bills`, of which 1 to 5 are blocked by two kinds of errors."""
    broker = make_broker(CONFIG).start()
    def send(*numbers):
        with Client(broker) as client:
            for n in numbers:
                client.send("bills", b'{"n":%d,"amount":1.10}' % n, id=f"m{n}", type="odd" if n % 2 else "even")

    send(1, 2, 3, 4, 5)
    with Worker(broker, "bills", credit=5) as worker:
        for n in range(1, 6):
            error = f"no rate for {n} of 'x{n}'" if n < 4 else f"timeout after {n} s"
            worker.nack(worker.take()[0], error, action="block")
    broker.until("five are blocked", lambda: broker.queue("bills")["blocked"] == 5)
    broker.cli("queue", "pause", "bills")
    send(6, 7, 8)
    return broker


def lines(text):
    """The cells of what `--plain` printed; not what was said beside."""
    return [line.split("\t") for line in text.splitlines() if "\t" in line]


def test_lists_and_groups(blocked):
    broker = blocked
    groups = lines(broker.cli("message", "groups", "bills", "--plain"))
    assert [group[1:4] for group in groups] == [["3", "1", "3"], ["2", "4", "5"]]
    assert groups[0][4].endswith("no rate for # of '…'")
    assert json.loads(broker.cli("message", "groups", "bills", "--json"))[0]["group"] == groups[0][0]
    assert groups[0][0] in broker.cli("message", "groups", "bills")
    listed = lines(broker.cli("message", "ls", "bills", "--plain", "--group", groups[1][0]))
    assert [row[0] for row in listed] == ["4", "5"] and listed[0][5] == "m4"
    assert [row[0] for row in lines(broker.cli("message", "ls", "bills", "--plain", "--header", "type=even",
                                               "--state", "blocked"))] == ["2", "4"]
    assert [row[0] for row in lines(broker.cli("message", "ls", "bills", "--plain", "--path", "n=7"))] == ["7"]
    assert [row[0] for row in lines(broker.cli("message", "ls", "bills", "--plain", "--filter", "body.n > 6"))] == ["7", "8"]
    assert "no such messages" in broker.cli("message", "ls", "bills", "--older", "2h")
    page = json.loads(broker.cli("message", "ls", "bills", "--newer", "1h", "--limit", "3", "--json"))
    assert (len(page["messages"]), page["next"]) == (3, 4)
    assert "scheduled" in broker.cli("message", "ls", "--help")
    assert "15m" in broker.cli("message", "ls", "bills", "--older", "2", code=2)


def test_many_are_repaired_when_their_number_is_said(blocked):
    broker = blocked
    command = ("message", "retry", "bills", "--state", "blocked")
    assert "nobody can be asked here" in broker.cli(*command, code=2)
    assert "5 are meant, --yes says 4" in broker.cli(*command, "--yes", "4", code=6)
    told = broker.cli(*command, "--dry-run")
    assert told.count("would be done") == 5
    assert broker.queue("bills")["blocked"] == 5
    done = [json.loads(line) for line in broker.cli(*command, "--limit", "2", "--yes", "2", "--json").splitlines()]
    assert [(one["seq"], one["outcome"]["result"], one["outcome"]["state"]) for one in done] == [
        (1, "done", "ready"), (2, "done", "ready")]
    # Several places: one is not blocked, one isn't there.
    told = lines(broker.cli("message", "retry", "bills", "3", "7", "99", "--yes", "3", "--plain", code=6))
    assert [row[1:5] for row in told] == [
        ["3", "done", "ready", "0"], ["7", "refused", "ready", "0"], ["99", "refused", "", "0"]]
    assert "needs a reason" in broker.cli("message", "cancel", "bills", "--all", code=2)
    assert "m8) is cancelled" in broker.cli(
        "message", "cancel", "bills", "--path", "n=8", "--reason", "test", "--yes", "1")
    assert "m8) is ready" in broker.cli("message", "restore", "bills", "--state", "cancelled", "--yes", "1")
    told = broker.cli("message", "move", "bills", "--state", "blocked", "--to", "later", "--yes", "2")
    assert "(m4) is later 1 now" in told and "(m5) is later 2 now" in told
    assert broker.cli("message", "retry", "bills", "--state", "blocked") == ""
    assert "not both" in broker.cli("message", "retry", "bills", "1", "--all", code=2)
    assert "for many messages" in broker.cli("message", "retry", "bills", "1", "--dry-run", code=2)
    entry = broker.admin("GET", "/v1/journal?queue=bills&seq=3")["entries"][0]
    assert (entry["kind"], entry["actor"]["via"]) == ("retried", "cli")


def typed(broker, command, answer):
    """Runs a command in a terminal and types an answer; its exit code, and what it said there."""
    master, slave = pty.openpty()
    process = subprocess.Popen([BINARY, *command, "--data-dir", str(broker.data)], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    while b"Type their number" not in said:
        said += os.read(master, 4096)
    os.write(master, answer)
    try:
        while part := os.read(master, 4096):
            said += part
    except OSError:
        # The other end is closed.
        pass
    os.close(master)
    return process.wait(PATIENCE), said.decode()


def test_enter_alone_does_nothing_and_the_number_does_it(blocked):
    broker = blocked
    command = ["message", "retry", "bills", "--state", "blocked"]
    for answer in [b"\n", b"y\n", b"yes\n", b"4\n"]:
        code, said = typed(broker, command, answer)
        assert code == 1 and "Retry 5 messages of bills. Type their number" in said and "nothing was done" in said
        assert "no rate for 1 of" in said, "they are shown"
    assert broker.queue("bills")["blocked"] == 5
    code, said = typed(broker, command, b"5\n")
    assert code == 0 and "5 done, 0 refused" in said
    assert broker.queue("bills")["blocked"] == 0


def test_it_goes_on_without_who_began_it(blocked):
    broker = blocked
    command = [BINARY, "message", "retry", "bills", "--state", "blocked", "--yes", "5", "--rate", "1", "--key", "night",
               "--data-dir", str(broker.data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    broker.until("one is done", lambda: [v for v in broker.admin("GET", "/v1/bulk") if v["done"] >= 1])
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "the broker goes on with it" in said and "`mubroker message bulk stop night` stops it" in said
    broker.until("it goes on", lambda: broker.admin("GET", "/v1/bulk/night")["done"] >= 2)
    assert "night" in broker.cli("message", "bulk", "ls")
    assert "stopped it" in broker.cli("message", "bulk", "stop", "night")
    assert json.loads(broker.cli("message", "bulk", "ls", "--json"))[0]["state"] == "stopped"
    left = broker.queue("bills")["blocked"]
    assert 0 < left < 4
    assert f"{left} not tried" in broker.cli("message", "bulk", "show", "night", code=1)


def bodies(broker, queue, *seqs):
    return [broker.cli("message", "show", queue, str(seq), "--payload") for seq in seqs]


def test_many_are_edited_by_jq_after_their_differences_were_seen(blocked):
    broker = blocked
    command = ("message", "edit", "bills", "--state", "blocked", "--jq", "if .n == 2 then . else .n += 10 end")
    told = broker.cli(*command, "--dry-run")
    assert told.count('-{"n":1,"amount":1.10}') == 1 and told.count('+{"n":11,"amount":1.10}') == 1
    assert "bills 2 " not in told and "bills 3 (m3), revision 0:" in told
    assert "nobody can be asked here" in broker.cli(*command, code=2)
    assert "4 are meant, --yes says 5" in broker.cli(*command, "--yes=5", code=6)
    assert broker.cli("message", "show", "bills", "1", "--payload") == '{"n":1,"amount":1.10}'
    done = broker.cli(*command, "--yes=4", "--json", "--key", "night", "--reason", "ten more", "--retry")
    done = [json.loads(line) for line in done.splitlines()]
    assert [(one["seq"], one["outcome"]["result"], one["outcome"]["revision"]) for one in done] == [
        (1, "done", 1), (3, "done", 1), (4, "done", 1), (5, "done", 1)]
    # What wasn't asked for keeps its bytes.
    assert bodies(broker, "bills", 1, 2, 5) == [
        '{"n":11,"amount":1.10}', '{"n":2,"amount":1.10}', '{"n":15,"amount":1.10}']
    entry = broker.admin("GET", "/v1/journal?queue=bills&seq=1")["entries"][0]
    assert (entry["kind"], entry["key"], entry["reason"]) == ("saved-and-retried", "night/1", "ten more")
    # Under the same key nothing is edited twice.
    again = broker.cli("message", "edit", "bills", "1", "3", "--jq", ".n += 10", "--key", "night", "--plain")
    assert [row[1:3] for row in lines(again)] == [["1", "done"], ["3", "done"]]
    assert bodies(broker, "bills", 1, 3) == ['{"n":11,"amount":1.10}', '{"n":13,"amount":1.10}']


def test_what_a_program_cannot_keep_whole_is_refused_unless_forced(broker, tmp_path):
    twice = b'{ "id":12345678901234567890123, "k":1, "k":2 }'
    with Client(broker) as client:
        for body in [b'{ "id":12345678901234567890123,\n  "a":1.10 }\n', twice, b"no JSON"]:
            client.send("q", body)
    broker.cli("queue", "pause", "q")
    patch = tmp_path / "patch.json"
    patch.write_text('[{"op": "add", "path": "/b", "value": [1]}]')
    told = broker.cli("message", "edit", "q", "--all", "--patch", str(patch), "--yes=1", code=6)
    assert 'the payload has the key k twice' in told and "the payload is not JSON: 1:1" in told
    assert "1 saved, 2 refused" in told
    assert bodies(broker, "q", 1) == ['{ "id":12345678901234567890123,\n  "a":1.10,\n  "b":[1] }\n']
    assert bodies(broker, "q", 2) == [twice.decode()]
    # --yes takes no word that stands behind it.
    broker.cli("message", "edit", "--yes", "q", "2", "--patch", str(patch), "--force")
    assert bodies(broker, "q", 2) == ['{"id":12345678901234567890123,"k":2,"b":[1]}']
    # One that changed meanwhile is told with what is there; programs that are none, at once.
    assert "revision 1 is there, 0 was seen" in broker.cli(
        "message", "edit", "q", "1", "--jq", ".a = 2", "--yes", "--expect-revision", "0", code=6)
    assert "there is no filter" in broker.cli("message", "edit", "q", "1", "--jq", "nosuch", code=2)
    assert "are for --jq and --patch" in broker.cli("message", "edit", "q", "--all", code=2)
    assert broker.cli("message", "edit", "q", "1", "--jq", ".") == ""


def test_an_interrupted_edit_goes_on_under_its_key_and_edits_nothing_twice(blocked):
    broker = blocked
    command = [BINARY, "message", "edit", "bills", "--state", "blocked", "--jq", ".n += 10", "--key", "night",
               "--data-dir", str(broker.data)]
    process = subprocess.Popen([*command, "--yes=5", "--rate", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    broker.until("one is saved", lambda: broker.admin("GET", "/v1/queues/bills/messages/1")["summary"]["revision"])
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "repeat the same command with --key night" in said, said
    kept = [body for body in bodies(broker, "bills", 1, 2, 3, 4, 5) if json.loads(body)["n"] < 10]
    assert 0 < len(kept) < 5
    broker.cli(*command[1:8], "--key", "night", "--rate", "0", f"--yes={len(kept)}")
    assert [json.loads(body)["n"] for body in bodies(broker, "bills", 1, 2, 3, 4, 5)] == [11, 12, 13, 14, 15]
