/*
 * A small PV guest for the lab: a kernel without user space, disks or network, that does what a
 * toolstack can see of a guest. Its command line says what it is like:
 *
 *     lamp.temper=NAME   see temper.c
 *     lamp.seconds=N     how long it takes to end ("slow"), or lives ("quits")
 *     lamp.rate=N        the most updates a second ("floods")
 */

#include "console.h"
#include "domain.h"
#include "store.h"
#include "temper.h"
#include "text.h"

const char *setting(const char *name, const char *usual)
{
    static char value[32];
    char word[32];
    format(word, sizeof(word), "lamp.%s=", name);
    for (const char *text = (const char *)start_info->cmd_line; *text; text++) {
        const char *found = after(text, word);
        if (!found)
            continue;
        size_t length = 0;
        while (found[length] && found[length] != ' ' && length + 1 < sizeof(value))
            length++;
        memcpy(value, found, length);
        value[length] = '\0';
        usual = value; /* The last word of a name counts. */
    }
    return usual;
}

unsigned setting_number(const char *name, unsigned usual)
{
    return number_or(setting(name, ""), usual);
}

void spark_main(struct start_info *given)
{
    domain_begin(given);
    console_begin();
    const char *name = setting("temper", "prompt");
    const struct temper *temper = temper_named(name);
    if (!temper) {
        say("there is no temper %s", name);
        domain_end(SHUTDOWN_crash);
    }
    if (temper->lives != deaf) {
        store_begin();
        control_begin();
    }
    say("up, temper %s", temper->name);
    enum request asked = temper->lives();
    say("shutting down (%s, temper %s)", request_name(asked), temper->name);
    asked = temper->ends(asked);
    say("%s", request_name(asked));
    domain_end(asked == REBOOT ? SHUTDOWN_reboot : SHUTDOWN_poweroff);
}
