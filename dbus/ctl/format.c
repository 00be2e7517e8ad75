/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/format.h"

#include <stdio.h>
#include <string.h>

#include "names.h"

G_DEFINE_QUARK(apmigctl - error - quark, ctl_error)

/* --- exit statuses ------------------------------------------------------------------------------- */

static const struct {
    int status;
    const char *meaning;
} statuses[] = {
    {CTL_EXIT_OK, "done"},
    {CTL_EXIT_FAILURE, "another failure; hook: the guest may not come in; doctor: not all is well"},
    {CTL_EXIT_USAGE, "the command line is wrong"},
    {APMIG_EXIT_INVALID, "the scope, an option or the reason is not valid"},
    {APMIG_EXIT_DENIED, "not authorized, or another user's lock"},
    {APMIG_EXIT_LOCKED, "an overlapping lock exists"},
    {APMIG_EXIT_BUSY,
     "a migration is in progress and was not to be ended (--on-busy=refuse); permit: it is too late"},
    {APMIG_EXIT_TIMEOUT, "the time was up before the lock was held"},
    {APMIG_EXIT_NOT_FOUND, "no such lock, guest or permit"},
    {APMIG_EXIT_HYPERVISOR, "the hypervisor cannot be reached"},
    {APMIG_EXIT_HOOK, "the qemu hook is not installed"},
    {APMIG_EXIT_KEYS, "the master keys are not in step"},
    {APMIG_EXIT_REFUSED,
     "apmigd could not store its state, a limit is reached, or the request was cancelled"},
    {CTL_EXIT_UNREACHABLE, "apmigd cannot be reached"},
    {CTL_EXIT_WOULD_DENY, "check: the guest may not come in now"},
    {CTL_EXIT_LOCK_ENDED, "wait: the lock has ended"},
    {CTL_EXIT_BREACHED, "watch: a migration is, or was, in progress under a lock that was held"},
    {CTL_EXIT_BLIND, "watch: apmigd or the hypervisor cannot be reached any more, or a lock is unproven"},
    {CTL_EXIT_NO_GO, "ready: NO-GO"},
    {CTL_EXIT_GO_EXCEPT,
     "over many hosts: GO on all but those that --except names, whose keys must not be changed"},
};

const char *
ctl_exit_statuses(void)
{
    static char *text; /* made once */
    GString *lines;

    if (text)
        return text;
    lines = g_string_new("Exit status:\n");
    for (guint i = 0; i < G_N_ELEMENTS(statuses); i++)
        g_string_append_printf(lines, "  %2d  %s\n", statuses[i].status, statuses[i].meaning);
    return text = g_string_free(lines, FALSE);
}

/* Those of the bus itself. */
static const struct {
    const char *name;
    int status;
} bus_errors[] = {
    {"org.freedesktop.DBus.Error.AccessDenied", APMIG_EXIT_DENIED},
    {"org.freedesktop.DBus.Error.AuthFailed", APMIG_EXIT_DENIED},
    {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", APMIG_EXIT_DENIED},
    {"org.freedesktop.DBus.Error.ServiceUnknown", CTL_EXIT_UNREACHABLE},
    {"org.freedesktop.DBus.Error.NameHasNoOwner", CTL_EXIT_UNREACHABLE},
    {"org.freedesktop.DBus.Error.NoReply", CTL_EXIT_UNREACHABLE},
    {"org.freedesktop.DBus.Error.Timeout", CTL_EXIT_UNREACHABLE},
    {"org.freedesktop.DBus.Error.TimedOut", CTL_EXIT_UNREACHABLE},
    {"org.freedesktop.DBus.Error.Disconnected", CTL_EXIT_UNREACHABLE},
};

int
ctl_exit_from_dbus(const char *name)
{
    ApmigError code;

    if (g_str_has_prefix(name, APMIG_BUS_ERROR_PREFIX) &&
        apmig_error_find(name + strlen(APMIG_BUS_ERROR_PREFIX), &code))
        return (int)apmig_error_exit_status(code);
    for (guint i = 0; i < G_N_ELEMENTS(bus_errors); i++) {
        if (g_str_equal(name, bus_errors[i].name))
            return bus_errors[i].status;
    }
    /* The daemon could not be activated. */
    if (g_str_has_prefix(name, "org.freedesktop.DBus.Error.Spawn.") ||
        g_str_has_prefix(name, "org.freedesktop.systemd1."))
        return CTL_EXIT_UNREACHABLE;
    return CTL_EXIT_FAILURE;
}

int
ctl_exit_from_error(const GError *error)
{
    g_autofree char *message = ctl_escape(error->message);

    fprintf(stderr, "apmigctl: %s%s\n", message,
            error->code == CTL_EXIT_UNREACHABLE ? "; apmigd cannot be reached: see 'systemctl status apmigd'"
                                                : "");
    return error->domain == CTL_ERROR ? error->code : CTL_EXIT_FAILURE;
}

/* --- text ------------------------------------------------------------------------------------ */

static gboolean
prints_as_itself(gunichar c)
{
    /* Of category "format" are the marks that reorder a line, and others that are not seen. */
    return g_unichar_isprint(c) && g_unichar_type(c) != G_UNICODE_FORMAT &&
           g_unichar_type(c) != G_UNICODE_PRIVATE_USE;
}

char *
ctl_escape(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *out = g_string_new(NULL);

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (prints_as_itself(c))
            g_string_append_unichar(out, c);
        else
            g_string_append_printf(out, "\\u{%x}", c);
    }
    return g_string_free(out, FALSE);
}

static guint
columns_of(const char *text)
{
    guint columns = 0;

    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        columns += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return columns;
}

static void
print_row(const char *const *cells, const guint *widths, guint n, const char *indent)
{
    fputs(indent, stdout);
    for (guint i = 0; i < n; i++) {
        fputs(cells[i], stdout);
        if (i + 1 < n)
            printf("%*s", (int)(widths[i] - columns_of(cells[i]) + 2), "");
    }
    putchar('\n');
}

void
ctl_print_table(const char *const *titles, GPtrArray *rows, const char *indent)
{
    guint n = g_strv_length((char **)titles);
    g_autofree guint *widths = g_new0(guint, n);
    g_autoptr(GPtrArray) safe = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < n; i++)
        widths[i] = columns_of(titles[i]);
    for (guint row = 0; row < rows->len; row++) {
        char **cells = g_ptr_array_index(rows, row);
        char **escaped = g_new0(char *, n + 1);

        for (guint i = 0; i < n; i++) {
            escaped[i] = ctl_escape(cells[i]);
            widths[i] = MAX(widths[i], columns_of(escaped[i]));
        }
        g_ptr_array_add(safe, escaped);
    }

    print_row(titles, widths, n, indent);
    for (guint row = 0; row < safe->len; row++)
        print_row((const char *const *)g_ptr_array_index(safe, row), widths, n, indent);
}

/* --- times --------------------------------------------------------------------------------------- */

char *
ctl_format_time(gint64 usec)
{
    g_autoptr(GDateTime) time = usec > 0 ? g_date_time_new_from_unix_local(usec / G_USEC_PER_SEC) : NULL;

    return time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("never");
}

#define SECOND G_GINT64_CONSTANT(1000000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define WEEK   (7 * DAY)

#define LONGEST_DURATION (10 * 365 * DAY)

char *
ctl_format_duration(gint64 usec)
{
    static const struct {
        gint64 usec;
        const char *name;
    } units[] = {{DAY, "d"}, {HOUR, "h"}, {MINUTE, "min"}, {SECOND, "s"}};
    guint first = 0;

    while (first < G_N_ELEMENTS(units) - 1 && usec < units[first].usec)
        first++;

    gint64 large = usec / units[first].usec;
    gint64 small = first + 1 < G_N_ELEMENTS(units) ? usec % units[first].usec / units[first + 1].usec : 0;

    if (small == 0)
        return g_strdup_printf("%" G_GINT64_FORMAT " %s", large, units[first].name);
    return g_strdup_printf("%" G_GINT64_FORMAT " %s %" G_GINT64_FORMAT " %s", large, units[first].name, small,
                           units[first + 1].name);
}

/* Returns: the unit that @text begins with, and its @length; 0 when it is none. */
static gint64
parse_unit(const char *text, gsize *length)
{
    static const struct {
        const char *name;
        gint64 usec;
    } units[] = {
        {"", SECOND},  {"s", SECOND},   {"sec", SECOND},    {"second", SECOND},  {"seconds", SECOND},
        {"m", MINUTE}, {"min", MINUTE}, {"minute", MINUTE}, {"minutes", MINUTE}, {"h", HOUR},
        {"hr", HOUR},  {"hour", HOUR},  {"hours", HOUR},    {"d", DAY},          {"day", DAY},
        {"days", DAY}, {"w", WEEK},     {"week", WEEK},     {"weeks", WEEK},
    };

    *length = 0;
    while (g_ascii_isalpha(text[*length]))
        (*length)++;
    for (guint i = 0; i < G_N_ELEMENTS(units); i++) {
        if (strlen(units[i].name) == *length && strncmp(units[i].name, text, *length) == 0)
            return units[i].usec;
    }
    return 0;
}

gboolean
ctl_parse_duration(const char *text, gint64 *ret_usec, GError **error)
{
    gint64 total = 0;
    const char *p = text;

    while (*p == ' ')
        p++;
    while (g_ascii_isdigit(*p)) {
        char *end;
        guint64 number = g_ascii_strtoull(p, &end, 10);
        gsize length;

        while (*end == ' ')
            end++;

        gint64 unit = parse_unit(end, &length);

        if (unit == 0 || number > (guint64)((LONGEST_DURATION - total) / unit))
            break;
        total += (gint64)number * unit;
        p = end + length;
        while (*p == ' ')
            p++;
    }
    if (*p == '\0' && total > 0) {
        *ret_usec = total;
        return TRUE;
    }

    g_autofree char *shown = ctl_escape(text);

    g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE,
                "'%s' is not a time: give numbers with s, min, h, d or w, such as 90s, 20min or '1d 12h', "
                "ten years at most",
                shown);
    return FALSE;
}
