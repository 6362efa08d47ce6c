/*
 * A small PV guest for the lab: a kernel without user space, disks or network, that does what a
 * toolstack can see of a guest. Its command line says what it is like:
 *
 *     lamp.behaviour=NAME   see behaviour.c
 *     lamp.seconds=N        how long it takes to end ("slow"), or lives ("quits")
 *     lamp.rate=N           the most updates a second ("floods")
 */

#include "behaviour.h"
#include "console.h"
#include "domain.h"
#include "store.h"
#include "text.h"

const char *setting(const char *name, const char *usual)
{
    static char value[32];
    char key[32];
    format(key, sizeof(key), "lamp.%s=", name);
    for (const char *text = (const char *)start_info->cmd_line; *text; text++) {
        const char *found = after(text, key);
        if (!found)
            continue;
        size_t length = 0;
        while (found[length] && found[length] != ' ' && length + 1 < sizeof(value))
            length++;
        memcpy(value, found, length);
        value[length] = '\0';
        usual = value; /* The last of several counts. */
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
    const char *name = setting("behaviour", "prompt");
    const struct behaviour *behaviour = behaviour_named(name);
    if (!behaviour) {
        say("there is no behaviour %s", name);
        domain_end(SHUTDOWN_crash);
    }
    if (behaviour->lives != deaf) {
        store_begin();
        control_begin();
    }
    say("up, behaviour %s", behaviour->name);
    enum request asked = behaviour->lives();
    say("shutting down (%s, behaviour %s)", request_name(asked), behaviour->name);
    asked = behaviour->ends(asked);
    say("%s", request_name(asked));
    domain_end(asked == REBOOT ? SHUTDOWN_reboot : SHUTDOWN_poweroff);
}
