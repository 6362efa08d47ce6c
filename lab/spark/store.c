/*
 * A message is a header (type, request's number, transaction, length) and its body. Requests and
 * answers have a ring of a kilobyte each, so that longer ones pass it in pieces. Events come among
 * the answers, at any time.
 */

#include "store.h"
#include "clock.h"
#include "console.h"
#include "domain.h"
#include "events.h"
#include "text.h"
#include <xen/io/xs_wire.h>

static struct xenstore_domain_interface *ring;

/* The body of the last answer, with a zero behind it. */
static char body[XENSTORE_PAYLOAD_MAX + 1];
static size_t body_length;

static const char *watched[WATCHES];
static bool fired[WATCHES];

/* We have moved on, on one of the rings, since xenstored was notified. */
static bool moved;

static evtchn_port_t port(void)
{
    return start_info->store_evtchn;
}

static uint32_t room_to_send(void)
{
    uint32_t taken = __atomic_load_n(&ring->req_cons, __ATOMIC_ACQUIRE);
    return XENSTORE_RING_SIZE - (ring->req_prod - taken);
}

static uint32_t bytes_to_receive(void)
{
    return __atomic_load_n(&ring->rsp_prod, __ATOMIC_ACQUIRE) - ring->rsp_cons;
}

/*
 * Wait until `look` sees something, at most until `deadline`; it may be called for nothing. Here
 * xenstored is notified, once for all that we put on the ring or took from it.
 */
static void wait_to_see(uint32_t (*look)(void), uint64_t deadline)
{
    if (moved)
        event_send(port());
    moved = false;
    event_clear(port());
    if (!look())
        event_wait(port(), deadline);
}

static void send_bytes(const void *from, size_t length)
{
    for (const char *next = from, *end = next + length; next < end;) {
        uint32_t room = room_to_send(), at = ring->req_prod;
        if (!room)
            wait_to_see(room_to_send, NEVER);
        for (; room && next < end; room--)
            ring->req[MASK_XENSTORE_IDX(at++)] = *next++;
        __atomic_store_n(&ring->req_prod, at, __ATOMIC_SEQ_CST);
        moved = true;
    }
}

static void receive_bytes(void *to, size_t length)
{
    for (char *next = to, *end = next + length; next < end;) {
        uint32_t there = bytes_to_receive(), at = ring->rsp_cons;
        if (!there)
            wait_to_see(bytes_to_receive, NEVER);
        for (; there && next < end; there--)
            *next++ = ring->rsp[MASK_XENSTORE_IDX(at++)];
        __atomic_store_n(&ring->rsp_cons, at, __ATOMIC_SEQ_CST);
        moved = true;
    }
}

/* The body of a request is one string with its zero, or that and a value. */
static void send(uint32_t type, uint32_t transaction, const char *text, const void *value,
                 size_t length)
{
    size_t text_length = strlen(text) + 1;
    struct xsd_sockmsg header = {.type = type, .tx_id = transaction, .len = text_length + length};
    send_bytes(&header, sizeof(header));
    send_bytes(text, text_length);
    send_bytes(value, length);
}

/* Receive one message; return its type. Its body is in `body`. */
static uint32_t receive(void)
{
    struct xsd_sockmsg header;
    receive_bytes(&header, sizeof(header));
    if (header.len > XENSTORE_PAYLOAD_MAX) {
        say("XenStore sent %u bytes in a message", header.len);
        domain_end(SHUTDOWN_crash);
    }
    receive_bytes(body, header.len);
    body[header.len] = '\0';
    body_length = header.len;
    return header.type;
}

/* An event is a path and the watch's number as text. It says no more than: look there again. */
static void keep_event(void)
{
    unsigned watch = number_or(body + strlen(body) + 1, WATCHES);
    if (watch < WATCHES)
        fired[watch] = true;
}

/* Return the type of the next answer; the events before it are kept. */
static uint32_t answer(void)
{
    uint32_t type;
    while ((type = receive()) == XS_WATCH_EVENT)
        keep_event();
    return type;
}

/* Send a request and return whether it succeeded; otherwise `body` is the error's name. */
static bool ask(uint32_t type, uint32_t transaction, const char *text, const void *value,
                size_t length)
{
    send(type, transaction, text, value, length);
    return answer() != XS_ERROR;
}

bool store_read(uint32_t transaction, const char *path, char *text, size_t room)
{
    if (!ask(XS_READ, transaction, path, NULL, 0))
        return false;
    size_t length = body_length < room ? body_length : room - 1;
    memcpy(text, body, length);
    text[length] = '\0';
    return true;
}

bool store_write(uint32_t transaction, const char *path, const void *value, size_t length)
{
    return ask(XS_WRITE, transaction, path, value, length);
}

bool store_write_text(uint32_t transaction, const char *path, const char *text)
{
    return store_write(transaction, path, text, strlen(text));
}

uint32_t store_transaction(void)
{
    return ask(XS_TRANSACTION_START, ALONE, "", NULL, 0) ? number_or(body, ALONE) : ALONE;
}

bool store_conflicts(uint32_t transaction)
{
    return !ask(XS_TRANSACTION_END, transaction, "T", NULL, 0) && same(body, "EAGAIN");
}

void store_abandon(uint32_t transaction)
{
    ask(XS_TRANSACTION_END, transaction, "F", NULL, 0);
}

void store_watch(enum watch watch, const char *path)
{
    char token[] = {'0' + watch, '\0'};
    watched[watch] = path;
    if (!ask(XS_WATCH, ALONE, path, token, sizeof(token)))
        say("%s cannot be watched: %s", path, body);
}

/* What is on the ring was meant for the domain that we were before, and so were its watches. */
void store_begin(void)
{
    ring = page_of(start_info->store_mfn);
    ring->rsp_cons = ring->rsp_prod;
    for (enum watch watch = 0; watch < WATCHES; watch++)
        if (watched[watch])
            store_watch(watch, watched[watch]);
}

/* Events may have come already, among the answers to something else. */
static enum watch take_event(void)
{
    for (enum watch watch = WATCHES - 1; watch != NO_WATCH; watch--)
        if (fired[watch]) {
            fired[watch] = false;
            return watch;
        }
    return NO_WATCH;
}

enum watch store_wait(uint64_t deadline)
{
    enum watch watch;
    while (!(watch = take_event()) && now() < deadline) {
        if (!bytes_to_receive())
            wait_to_see(bytes_to_receive, deadline);
        else if (receive() == XS_WATCH_EVENT)
            keep_event();
    }
    return watch;
}

bool store_post(const char *path, const void *value, size_t length)
{
    if (room_to_send() < sizeof(struct xsd_sockmsg) + strlen(path) + 1 + length)
        return false;
    send(XS_WRITE, ALONE, path, value, length);
    return true;
}

void store_confirm(void)
{
    answer();
}
