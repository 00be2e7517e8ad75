/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/status-check.h"

#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/format.h"

typedef struct {
    CtlMonitor worst;
    GString *text; /* what is wrong, the worst first */
} Verdict;

static const char *const monitor_names[] = {
    [CTL_MONITOR_OK] = "OK",
    [CTL_MONITOR_WARNING] = "WARNING",
    [CTL_MONITOR_CRITICAL] = "CRITICAL",
    [CTL_MONITOR_UNKNOWN] = "UNKNOWN",
};

G_GNUC_PRINTF(3, 4)
static void
blame(Verdict *verdict, CtlMonitor how, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    if (how > verdict->worst) {
        g_string_prepend(verdict->text, verdict->text->len > 0 ? "; " : "");
        g_string_prepend(verdict->text, what);
    } else {
        g_string_append_printf(verdict->text, "%s%s", verdict->text->len > 0 ? "; " : "", what);
    }
    verdict->worst = MAX(verdict->worst, how);
}

static void
check_lock(Verdict *verdict, JsonObject *lock)
{
    const char *id = ctl_string(lock, "Id"), *state = ctl_string(lock, "State");

    if (g_str_equal(state, "breached"))
        blame(verdict, CTL_MONITOR_CRITICAL, "a migration is in progress under lock %s", id);
    if (g_str_equal(state, "permitted"))
        blame(verdict, CTL_MONITOR_WARNING, "a permitted migration is in progress under lock %s", id);
    if (g_str_equal(state, "recovered"))
        blame(verdict, CTL_MONITOR_CRITICAL, "lock %s stands for one that cannot be read", id);
    if (ctl_bool(lock, "Overdue"))
        blame(verdict, CTL_MONITOR_WARNING, "lock %s of %s is overdue", id, ctl_string(lock, "OwnerName"));
}

static void
check_manager(Verdict *verdict, JsonObject *manager)
{
    const char *trouble = ctl_string(manager, "KeyTrouble");

    if (!ctl_bool(manager, "HookInstalled"))
        blame(verdict, CTL_MONITOR_CRITICAL, "the qemu hook is not installed: guests come in unasked");
    if (g_str_equal(ctl_string(manager, "HypervisorState"), "disconnected"))
        blame(verdict, ctl_bool(manager, "Locked") ? CTL_MONITOR_CRITICAL : CTL_MONITOR_WARNING,
              "libvirt is not reached: migrations are not seen");
    if (*trouble)
        blame(verdict, CTL_MONITOR_WARNING, "keys: %s", trouble);
}

CtlMonitor
ctl_check_status(JsonObject *manager, GPtrArray *locks, GPtrArray *migrations, const GError *error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    Verdict verdict = {CTL_MONITOR_OK, text};
    g_autofree char *safe = NULL;

    /* Without apmigd affected guests do not come in, and nobody watches those that leave. */
    if (!manager)
        blame(&verdict, error->code == CTL_EXIT_UNREACHABLE ? CTL_MONITOR_CRITICAL : CTL_MONITOR_UNKNOWN,
              "apmigd does not answer: %s", error->message);
    else
        check_manager(&verdict, manager);
    for (guint i = 0; manager && i < locks->len; i++)
        check_lock(&verdict, g_ptr_array_index(locks, i));
    safe = ctl_escape(*text->str ? text->str : "all is well");
    printf("APMIGD %s - %s", monitor_names[verdict.worst], safe);
    if (manager)
        printf(" | locks=%u migrations=%u", locks->len, migrations->len);
    putchar('\n');
    return verdict.worst;
}
