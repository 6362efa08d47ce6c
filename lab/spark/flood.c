/*
 * A hostile guest: it writes its own nodes as fast as it is let, many requests under way at once.
 * Most of what it writes is random bytes; some of it is an agent's words, each time other ones, so
 * that a host which answers has something to answer. It tells its console how many updates a
 * second XenStore has confirmed; lamp.rate= bounds them.
 */

#include "clock.h"
#include "console.h"
#include "store.h"
#include "temper.h"
#include "text.h"

#define AGENT "data/lamplighter/"
#define WORD "data/flood"

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

static void think_of_garbage(void)
{
    update.node = NODES[chance() % (sizeof(NODES) / sizeof(NODES[0]))];
    update.length = SIZES[chance() % (sizeof(SIZES) / sizeof(SIZES[0]))];
    for (size_t i = 0; i < update.length; i += sizeof(uint64_t)) {
        uint64_t bytes = chance();
        memcpy(update.value + i, &bytes, sizeof(bytes));
    }
}

static void think_of_words(unsigned number)
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

static void think(void)
{
    static unsigned words;
    if (chance() % 7 < 4)
        think_of_garbage();
    else
        think_of_words(words++);
}

static void wait_for_the_word(void)
{
    char told[4];
    store_watch(WATCH_FLOOD, WORD);
    while (!store_read(ALONE, WORD, told, sizeof(told)) || !same(told, "1"))
        if (control_listen(NEVER) != NO_REQUEST)
            say("stays");
}

enum request floods(void)
{
    wait_for_the_word();
    const unsigned rate = setting_number("rate", 2000);
    think();
    for (;;) {
        uint64_t began = now();
        unsigned posted = 0, confirmed = 0;
        while (posted < rate && now() < began + SECOND) {
            while (posted < rate && store_post(update.node, update.value, update.length)) {
                posted++;
                think();
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
