#include "behaviour.h"
#include "clock.h"
#include "console.h"
#include "domain.h"
#include "events.h"
#include "store.h"
#include "text.h"

/* Whatever it is asked meanwhile is acknowledged and changes nothing. */
static void pass(uint64_t until)
{
    while (now() < until)
        control_listen(until);
}

/* --- how it lives --- */

static enum request obeys(void)
{
    enum request asked;
    while ((asked = control_listen(NEVER)) == NO_REQUEST)
        ;
    return asked;
}

static enum request quits(void)
{
    enum request asked = control_listen(now() + setting_number("seconds", 10) * SECOND);
    if (asked != NO_REQUEST)
        return asked;
    say("powers off by itself");
    return POWEROFF;
}

/* A guest may write no more than 2048 bytes into a node: the quota of both xenstoreds. */
static enum request garbles(void)
{
    static uint64_t garbage[1800 / sizeof(uint64_t)];
    for (;;) {
        for (unsigned i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
            garbage[i] = chance();
        store_write(ALONE, "control/shutdown", garbage, sizeof(garbage));
        for (uint64_t next = now() + SECOND; now() < next;) {
            enum request asked = control_listen(next);
            if (asked != NO_REQUEST)
                return asked;
        }
    }
}

enum request deaf(void)
{
    for (;;) {
        event_clear(start_info->store_evtchn);
        event_wait(start_info->store_evtchn, NEVER);
    }
}

/* --- how it ends --- */

static enum request at_once(enum request asked)
{
    return asked;
}

static enum request slowly(enum request asked)
{
    unsigned seconds = setting_number("seconds", 20);
    uint64_t began = now();
    for (unsigned passed = 1; passed <= seconds; passed++) {
        pass(began + passed * SECOND);
        say("stopping, %u of %u", passed, seconds);
    }
    return asked;
}

static enum request never(enum request asked)
{
    say("stays");
    pass(NEVER);
    return asked;
}

static enum request by_a_crash(enum request asked)
{
    (void)asked;
    domain_end(SHUTDOWN_crash);
}

/* The host keeps a list of the guests that have done so: a guest's memory does not survive. */
static enum request by_a_reboot_once(enum request asked)
{
    static const char LIST[] = "/lamplighter-lab/rebooted";
    static char known[2048], longer[2048];
    char uuid[37];
    domain_uuid(uuid);
    uint32_t transaction;
    do {
        transaction = store_transaction();
        if (transaction == ALONE || !store_read(transaction, LIST, known, sizeof(known)))
            known[0] = '\0';
        if (contains(known, uuid)) {
            store_abandon(transaction);
            return asked;
        }
        format(longer, sizeof(longer), "%s %s", known, uuid);
        store_write_text(transaction, LIST, longer);
    } while (store_conflicts(transaction));
    return REBOOT;
}

static const struct behaviour BEHAVIOURS[] = {
    {"prompt", obeys, at_once},
    {"slow", obeys, slowly},
    {"deaf", deaf, at_once},
    {"hangs", obeys, never},
    {"reboots", obeys, by_a_reboot_once},
    {"crashes", obeys, by_a_crash},
    {"quits", quits, at_once},
    {"garbles", garbles, at_once},
    {"floods", floods, never},
};

const struct behaviour *behaviour_named(const char *name)
{
    for (unsigned i = 0; i < sizeof(BEHAVIOURS) / sizeof(BEHAVIOURS[0]); i++)
        if (same(name, BEHAVIOURS[i].name))
            return &BEHAVIOURS[i];
    return NULL;
}
