/*
 * A hostile guest: it writes its own nodes as fast as it can, with many requests under way at once.
 * Most of what it writes is random bytes; some of it is what an agent would report,
 * different each time, so that the host has requests to answer. It reports on its console how
 * many updates a second XenStore has confirmed; lamp.rate= bounds them.
 */

#include "behaviour.h"
#include "clock.h"
#include "console.h"
#include "store.h"
#include "text.h"

#define AGENT "data/lamplighter/"
#define SWITCH "data/flood"

static const char *const NODES[] = {
    AGENT "version", AGENT "ready",  AGENT "progress",
    AGENT "more",    AGENT "forced", "control/shutdown",
};
static const unsigned SIZES[] = {1, 16, 64, 200, 201, 300};

static struct {
    const char *node;
    char value[304];
    size_t length;
} update;

static void choose_garbage(void)
{
    update.node = NODES[chance() % (sizeof(NODES) / sizeof(NODES[0]))];
    update.length = SIZES[chance() % (sizeof(SIZES) / sizeof(SIZES[0]))];
    for (size_t i = 0; i < update.length; i += sizeof(uint64_t)) {
        uint64_t bytes = chance();
        memcpy(update.value + i, &bytes, sizeof(bytes));
    }
}

static void choose_report(unsigned number)
{
    switch (number % 3) {
    case 0:
        update.node = AGENT "version";
        update.length = format(update.value, sizeof(update.value), "1 6.6.6");
        break;
    case 1:
        update.node = AGENT "more";
        update.length =
            format(update.value, sizeof(update.value), "f%u %u more", number, number % 9999 + 1);
        break;
    case 2:
        update.node = AGENT "progress";
        update.length =
            format(update.value, sizeof(update.value), "%u flooding %u", number % 100, number);
        break;
    }
}

static void choose_update(void)
{
    static unsigned reports;
    if (chance() % 7 < 4)
        choose_garbage();
    else
        choose_report(reports++);
}

static void wait_for_the_switch(void)
{
    char value[4];
    store_watch(WATCH_FLOOD, SWITCH);
    while (!store_read(ALONE, SWITCH, value, sizeof(value)) || !same(value, "1"))
        if (control_listen(NEVER) != NO_REQUEST)
            say("stays");
}

enum request floods(void)
{
    wait_for_the_switch();
    const unsigned rate = setting_number("rate", 2000);
    choose_update();
    for (;;) {
        uint64_t began = now();
        unsigned posted = 0, confirmed = 0;
        while (posted < rate && now() < began + SECOND) {
            while (posted < rate && store_post(update.node, update.value, update.length)) {
                posted++;
                choose_update();
            }
            store_confirm();
            confirmed++;
        }
        for (; confirmed < posted; confirmed++)
            store_confirm();
        if (control_listen(began + SECOND) != NO_REQUEST)
            say("stays");
        say("%u updates/s", (unsigned)(confirmed * SECOND / (now() - began)));
    }
}
