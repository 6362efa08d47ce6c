#include "control.h"
#include "console.h"
#include "domain.h"
#include "store.h"
#include "text.h"

#define REQUEST "control/shutdown"

static const struct {
    const char *text;
    enum request means;
} REQUESTS[] = {
    {"poweroff", POWEROFF},
    {"halt", POWEROFF},
    {"reboot", REBOOT},
    {"suspend", SUSPEND},
};

const char *request_name(enum request request)
{
    for (unsigned i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++)
        if (REQUESTS[i].means == request)
            return REQUESTS[i].text;
    return "nothing";
}

static void advertise(void)
{
    store_write_text(ALONE, "control/feature-poweroff", "1");
    store_write_text(ALONE, "control/feature-reboot", "1");
    store_write_text(ALONE, "control/feature-suspend", "1");
}

/* The watch is there first, so that a request that follows the features is seen. */
void control_begin(void)
{
    store_watch(WATCH_REQUEST, REQUEST);
    advertise();
}

static enum request meaning(const char *text)
{
    for (unsigned i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++)
        if (same(text, REQUESTS[i].text))
            return REQUESTS[i].means;
    return NO_REQUEST;
}

/*
 * Read the request and clear it, which is the acknowledgement: in one transaction, so that no
 * other request is cleared than the one that was read. A value that is not known is left there.
 */
static enum request take_request(void)
{
    char text[32];
    for (;;) {
        uint32_t transaction = store_transaction();
        if (transaction == ALONE)
            return NO_REQUEST;
        enum request request =
            store_read(transaction, REQUEST, text, sizeof(text)) ? meaning(text) : NO_REQUEST;
        if (request == NO_REQUEST) {
            store_abandon(transaction);
            return NO_REQUEST;
        }
        store_write_text(transaction, REQUEST, "");
        if (!store_conflicts(transaction))
            return request;
    }
}

static void suspend(void)
{
    say("suspends");
    if (!domain_suspend()) {
        say("goes on: the suspend was cancelled");
        return;
    }
    console_begin();
    store_begin();
    advertise();
    say("goes on: restored");
}

enum request control_listen(uint64_t deadline)
{
    while (store_wait(deadline) == WATCH_REQUEST) {
        enum request request = take_request();
        if (request == SUSPEND)
            suspend();
        else if (request != NO_REQUEST)
            return request;
    }
    return NO_REQUEST;
}
