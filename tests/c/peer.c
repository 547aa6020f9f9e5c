/* libzmq as client (REQ) and worker (DEALER) of a running broker: peer CLIENTS WORKERS
 *
 * Sends, is given what it sent in the same order and bytes, and acknowledges. Prints "ok". JSON is read
 * with strstr: the frames' bytes are what is tested here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { COUNT = 50, FRAMES = 8, PATIENCE_MS = 60000 };

struct message {
    int count;
    zmq_msg_t frame[FRAMES];
};

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "peer.c: %s (%s)\n", what, zmq_strerror(zmq_errno()));
        exit(1);
    }
}

static void part(void *socket, const void *bytes, size_t length, int more)
{
    check(zmq_send(socket, bytes, length, more ? ZMQ_SNDMORE : 0) == (int)length, "send");
}

static void say(void *socket, const char *verb, const char *header, const void *body, int length)
{
    part(socket, "MUB1", 4, 1);
    part(socket, verb, strlen(verb), 1);
    part(socket, header, strlen(header), length >= 0);
    if (length >= 0)
        part(socket, body, (size_t)length, 0);
}

static void hear(void *socket, struct message *into)
{
    int more = 1;
    for (into->count = 0; more; into->count++) {
        check(into->count < FRAMES, "too many frames");
        zmq_msg_t *frame = &into->frame[into->count];
        check(zmq_msg_init(frame) == 0, "init");
        check(zmq_msg_recv(frame, socket, 0) >= 0, "nothing was received in time");
        more = zmq_msg_more(frame);
    }
    check(into->count >= 3, "an envelope has three frames");
}

static void drop(struct message *message)
{
    for (int i = 0; i < message->count; i++)
        zmq_msg_close(&message->frame[i]);
}

static int is(struct message *message, int frame, const void *bytes, size_t length)
{
    return frame < message->count && zmq_msg_size(&message->frame[frame]) == length
        && memcmp(zmq_msg_data(&message->frame[frame]), bytes, length) == 0;
}

/* The header as a string; cut at 4 KiB. */
static const char *header(struct message *message)
{
    static char text[4096];
    size_t length = zmq_msg_size(&message->frame[2]);
    if (length >= sizeof text)
        length = sizeof text - 1;
    memcpy(text, zmq_msg_data(&message->frame[2]), length);
    text[length] = 0;
    return text;
}

static int body(int n, char *into, size_t size)
{
    int length = snprintf(into, size, "{\"n\":%d,\"price\":1.10}", n);
    into[length++] = 0;
    into[length++] = (char)255;
    return length;
}

static void send_all(void *client)
{
    struct message answer;
    say(client, "PING", "{}", NULL, -1);
    hear(client, &answer);
    check(is(&answer, 1, "PONG", 4), "PING is answered PONG");
    drop(&answer);
    for (int n = 1; n <= COUNT; n++) {
        char head[128], bytes[128], expected[32];
        int length = body(n, bytes, sizeof bytes);
        snprintf(head, sizeof head, "{\"queue\":\"c\",\"id\":\"c-%d\"}", n);
        say(client, "SEND", head, bytes, length);
        hear(client, &answer);
        check(is(&answer, 1, "ACCEPTED", 8), "SEND is answered ACCEPTED");
        snprintf(expected, sizeof expected, "\"c-%d\"", n);
        check(strstr(header(&answer), expected) != NULL, "ACCEPTED names the id");
        drop(&answer);
    }
}

static void work(void *worker)
{
    struct message given;
    say(worker, "READY", "{\"queues\":[\"c\"],\"credit\":1,\"worker\":{\"name\":\"libzmq\"}}", NULL, -1);
    for (int n = 1; n <= COUNT;) {
        hear(worker, &given);
        if (is(&given, 1, "HEARTBEAT", 9)) {
            say(worker, "HEARTBEAT", "{}", NULL, -1);
            drop(&given);
            continue;
        }
        check(is(&given, 1, "DELIVER", 7), "the broker delivers");
        char expected[128], delivery[64], ack[96];
        check(is(&given, 3, expected, (size_t)body(n, expected, sizeof expected)), "the bytes are those sent");
        snprintf(expected, sizeof expected, "\"c-%d\"", n);
        check(strstr(header(&given), expected) != NULL, "the order is that of sending");
        const char *at = strstr(header(&given), "\"delivery\":\"");
        check(at != NULL && sscanf(at + 12, "%63[^\"]", delivery) == 1, "DELIVER names its delivery");
        snprintf(ack, sizeof ack, "{\"delivery\":\"%s\"}", delivery);
        say(worker, "ACK", ack, "", 0);
        drop(&given);
        n++;
    }
    say(worker, "BYE", "{}", NULL, -1);
}

static void *connected(void *context, int type, const char *address)
{
    int patience = PATIENCE_MS, linger = 1000;
    void *socket = zmq_socket(context, type);
    check(socket != NULL, "socket");
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    check(zmq_connect(socket, address) == 0, "connect");
    return socket;
}

int main(int argc, char **argv)
{
    check(argc == 3, "usage: peer CLIENTS WORKERS");
    void *context = zmq_ctx_new();
    void *client = connected(context, ZMQ_REQ, argv[1]);
    void *worker = connected(context, ZMQ_DEALER, argv[2]);
    send_all(client);
    work(worker);
    zmq_close(client);
    zmq_close(worker);
    zmq_ctx_term(context);
    puts("ok");
    return 0;
}
