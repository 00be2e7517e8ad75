/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "apmigctl report": what happened during a key change, on one page, from the journal. */
#include <stdio.h>
#include <unistd.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/journal.h"
#include "ctl/options.h"

typedef struct {
    CtlCommon common;
    char *lock;
    char *since;
    char *directory;
    gint64 since_usec;
} ReportOptions;

static void
report_options_clear(ReportOptions *options)
{
    g_free(options->lock);
    g_free(options->since);
    g_free(options->directory);
    ctl_common_clear(&options->common);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ReportOptions, report_options_clear)

/* --- what is counted ----------------------------------------------------------------------------- */

/* Without a result: every such entry. */
static const struct {
    const char *member;
    const char *event;
    const char *result;
    const char *words;
} tallies[] = {
    {"Refused", "ADMISSION_DENIED", NULL, "guests refused"},
    {"LetIn", "ADMISSION_ALLOWED", NULL, "guests let in"},
    {"Aborted", "MIGRATION_ENDED", "aborted", "migrations ended by apmigd"},
    {"CompletedAnyway", "MIGRATION_ENDED", "completed-anyway",
     "migrations completed although an end was asked for"},
    {"Breaches", "LOCK_BREACHED", NULL, "times breached, attempts included"},
    {"Attempted", "LOCK_ATTEMPTED", NULL, "times attempts to migrate were told of"},
    {"Departed", "GUEST_DEPARTED", NULL, "guests gone, and nobody saw how"},
    {"Late", "VIEW_LATE", NULL, "times libvirt was late or silent"},
    {"Permitted", "PERMIT_USED", NULL, "migrations that were permitted"},
    {"Overdue", "LOCK_OVERDUE", NULL, "times overdue"},
    {"ReleasesRefused", "RELEASE_REFUSED", NULL, "releases refused because of the keys"},
    {"RequestsRefused", "REQUEST_REFUSED", NULL, "requests refused"},
};

static gint64
count(const GPtrArray *entries, guint tally)
{
    gint64 n = 0;

    for (guint i = 0; i < entries->len; i++) {
        JsonObject *entry = g_ptr_array_index(entries, i);

        n += g_str_equal(ctl_string(entry, "Event"), tallies[tally].event) &&
             (!tallies[tally].result || g_str_equal(ctl_string(entry, "Result"), tallies[tally].result));
    }
    return n;
}

/* --- locks --------------------------------------------------------------------------------------- */

static gboolean
is_of_lock(JsonObject *entry, const char *id)
{
    JsonArray *ids =
        json_object_has_member(entry, "Locks") ? json_object_get_array_member(entry, "Locks") : NULL;

    for (guint i = 0; ids && i < json_array_get_length(ids); i++) {
        if (g_str_equal(json_array_get_string_element(ids, i), id))
            return TRUE;
    }
    return FALSE;
}

/* Returns: (nullable): the first entry of that event. */
static JsonObject *
find_event(const GPtrArray *entries, const char *id, const char *event)
{
    for (guint i = 0; i < entries->len; i++) {
        JsonObject *entry = g_ptr_array_index(entries, i);

        if (g_str_equal(ctl_string(entry, "Event"), event) && is_of_lock(entry, id))
            return entry;
    }
    return NULL;
}

/* Those that an entry is about, not just one that concerned them among others. Returns: (transfer container). */
static GPtrArray *
list_lock_ids(const GPtrArray *entries)
{
    GPtrArray *ids = g_ptr_array_new();

    for (guint i = 0; i < entries->len; i++) {
        JsonObject *entry = g_ptr_array_index(entries, i);
        JsonArray *array =
            json_object_has_member(entry, "Locks") ? json_object_get_array_member(entry, "Locks") : NULL;

        if (!array || !g_str_has_prefix(ctl_string(entry, "Event"), "LOCK_"))
            continue;
        for (guint j = 0; j < json_array_get_length(array); j++) {
            const char *id = json_array_get_string_element(array, j);

            if (!g_ptr_array_find_with_equal_func(ids, id, g_str_equal, NULL))
                g_ptr_array_add(ids, (gpointer)id);
        }
    }
    return ids;
}

/* What a lock went through once, in the order of its life. */
static const struct {
    const char *event;
    const char *time_member;
    const char *words;
} milestones[] = {
    {"LOCK_REQUESTED", "RequestedAt", "requested"},
    {"LOCK_HELD", "HeldAt", "held"},
    {"LOCK_ENDED", "EndedAt", "ended"},
};

static JsonNode *
lock_to_json(const GPtrArray *entries, const char *id)
{
    g_autoptr(JsonObject) lock = json_object_new();
    JsonObject *end = find_event(entries, id, "LOCK_ENDED");

    json_object_set_string_member(lock, "Id", id);
    for (guint i = 0; i < G_N_ELEMENTS(milestones); i++) {
        JsonObject *entry = find_event(entries, id, milestones[i].event);

        json_object_set_int_member(lock, milestones[i].time_member, entry ? ctl_int(entry, "Time") : 0);
    }
    json_object_set_string_member(lock, "Result", end ? ctl_string(end, "Result") : "");
    return json_node_init_object(json_node_alloc(), lock);
}

static JsonNode *
report_to_json(const GPtrArray *entries, const char *member, const char *value)
{
    g_autoptr(JsonObject) report = json_object_new();
    g_autoptr(GPtrArray) ids = list_lock_ids(entries);
    JsonObject *counts = json_object_new();
    JsonArray *locks = json_array_new(), *array = json_array_new();

    for (guint i = 0; i < ids->len; i++)
        json_array_add_element(locks, lock_to_json(entries, g_ptr_array_index(ids, i)));
    for (guint i = 0; i < G_N_ELEMENTS(tallies); i++)
        json_object_set_int_member(counts, tallies[i].member, count(entries, i));
    for (guint i = 0; i < entries->len; i++)
        json_array_add_object_element(array, json_object_ref(g_ptr_array_index(entries, i)));
    json_object_set_string_member(report, member, value);
    json_object_set_array_member(report, "Locks", locks);
    json_object_set_object_member(report, "Counts", counts);
    json_object_set_array_member(report, "Entries", array);
    return json_node_init_object(json_node_alloc(), report);
}

/* --- the page ------------------------------------------------------------------------------------ */

static void
print_lock(const GPtrArray *entries, const char *id)
{
    g_autofree char *safe = ctl_escape(id);

    printf("Lock %s\n", safe);
    for (guint i = 0; i < G_N_ELEMENTS(milestones); i++) {
        JsonObject *entry = find_event(entries, id, milestones[i].event);
        g_autofree char *time = entry ? ctl_format_time(ctl_int(entry, "Time")) : g_strdup("-");
        g_autofree char *message = ctl_escape(entry ? ctl_string(entry, "Message") : "");

        printf("  %-10s %-20s %s\n", milestones[i].words, time, message);
    }
    putchar('\n');
}

static char *
describe_number(JsonObject *entry, const char *member)
{
    return json_object_has_member(entry, member)
               ? g_strdup_printf("%" G_GINT64_FORMAT, ctl_int(entry, member))
               : g_strdup("-");
}

/* Returns: (transfer full) */
static char *
describe_process(JsonObject *entry)
{
    g_autofree char *pid = describe_number(entry, "CallerPid");

    if (!g_str_equal(ctl_string(entry, "CallerVerified"), "no"))
        return g_steal_pointer(&pid);
    return g_strconcat(pid, " (not verified)", NULL);
}

static void
print_requests(const GPtrArray *entries)
{
    static const char *const titles[] = {"TIME", "REQUEST", "USER", "LOGIN", "PROCESS", "UNIT", "", NULL};
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < entries->len; i++) {
        JsonObject *entry = g_ptr_array_index(entries, i);
        const char *unit = ctl_string(entry, "CallerUnit");
        char **row;

        if (!*ctl_string(entry, "Request"))
            continue;
        row = g_new0(char *, G_N_ELEMENTS(titles));
        row[0] = ctl_format_time(ctl_int(entry, "Time"));
        row[1] = g_strdup(ctl_string(entry, "Request"));
        row[2] = describe_number(entry, "CallerUid");
        row[3] = describe_number(entry, "CallerLoginUid");
        row[4] = describe_process(entry);
        row[5] = g_strdup(*unit ? unit : "-");
        row[6] = g_strdup(g_str_equal(ctl_string(entry, "Event"), "REQUEST_REFUSED") ? "refused" : "");
        g_ptr_array_add(rows, row);
    }
    if (rows->len == 0)
        return;
    puts("\nWho asked");
    ctl_print_table(titles, rows, "  ");
}

static void
print_permits(const GPtrArray *entries)
{
    static const char *const titles[] = {"TIME", "GUEST", "WHAT", NULL};
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < entries->len; i++) {
        JsonObject *entry = g_ptr_array_index(entries, i);
        char **row;

        if (!g_str_has_prefix(ctl_string(entry, "Event"), "PERMIT_"))
            continue;
        row = g_new0(char *, G_N_ELEMENTS(titles));
        row[0] = ctl_format_time(ctl_int(entry, "Time"));
        row[1] = g_strdup(ctl_string(entry, "Guest"));
        row[2] = g_strdup(ctl_string(entry, "Message"));
        g_ptr_array_add(rows, row);
    }
    if (rows->len == 0)
        return;
    puts("\nPermitted");
    ctl_print_table(titles, rows, "  ");
}

static void
print_events(const GPtrArray *entries)
{
    static const char *const titles[] = {"TIME", "EVENT", "MESSAGE", NULL};
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < entries->len; i++) {
        JsonObject *entry = g_ptr_array_index(entries, i);
        const char *event = ctl_string(entry, "Event");
        char **row = g_new0(char *, G_N_ELEMENTS(titles));

        row[0] = ctl_format_time(ctl_int(entry, "Time"));
        row[1] = g_strdup(*event ? event : "-");
        row[2] = g_strdup(ctl_string(entry, "Message"));
        g_ptr_array_add(rows, row);
    }
    puts("\nWhat happened");
    ctl_print_table(titles, rows, "  ");
}

static void
print_report(const GPtrArray *entries, const char *title, const char *value)
{
    g_autoptr(GPtrArray) ids = list_lock_ids(entries);
    g_autofree char *safe = ctl_escape(value);

    printf("%s %s\n\n", title, safe);
    for (guint i = 0; i < ids->len; i++)
        print_lock(entries, g_ptr_array_index(ids, i));
    for (guint i = 0; i < G_N_ELEMENTS(tallies); i++)
        printf("%6" G_GINT64_FORMAT " %s\n", count(entries, i), tallies[i].words);
    print_requests(entries);
    print_permits(entries);
    print_events(entries);
}

/* --- the verb ------------------------------------------------------------------------------------ */

/* As a time that has passed ("2d") or a point in time ("2026-11-22", "2026-11-22 08:00"). */
static gboolean
parse_since(const char *text, gint64 *ret_usec, GError **error)
{
    static const char *const rests[] = {"", ":00", "T00:00:00"};
    gint64 ago;

    if (ctl_parse_duration(text, &ago, NULL)) {
        *ret_usec = g_get_real_time() - ago;
        return TRUE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(rests); i++) {
        g_autofree char *whole = g_strconcat(text, rests[i], NULL);
        g_autoptr(GTimeZone) local = g_time_zone_new_local();
        g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(whole, local);

        if (!time)
            continue;
        *ret_usec = g_date_time_to_unix(time) * G_USEC_PER_SEC;
        return TRUE;
    }

    g_autofree char *shown = ctl_escape(text);

    g_set_error(
        error, CTL_ERROR, CTL_EXIT_USAGE,
        "'%s' is no time: give one that has passed, such as 2d, or a date, such as '2026-11-22 08:00'",
        shown);
    return FALSE;
}

static const char report_summary[] =
    "Tells from this host's journal what happened during the key change CHANGE-ID, the one that was given "
    "to\n"
    "'apmigctl lock --change-id': who asked for locks, when they were held and released, and which guests\n"
    "were refused and migrations ended meanwhile. A lock without a change: --lock ID. Only root and members\n"
    "of the group systemd-journal may read the journal.";

static gboolean
parse_report_options(int *argc, char ***argv, ReportOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"lock", 0, 0, G_OPTION_ARG_STRING, &options->lock, "Of this lock, instead of a change", "ID"},
        {"since", 0, 0, G_OPTION_ARG_STRING, &options->since,
         "Nothing that is older: '2026-11-22 08:00', or 2d for what was in the last two days", "TIME"},
        {"directory", 0, 0, G_OPTION_ARG_FILENAME, &options->directory,
         "Read the journal files in DIR, as those of another host", "DIR"},
        {NULL},
    };
    const CtlUsage usage = {"[CHANGE-ID]", report_summary, NULL, entries, 0, 1};

    if (!ctl_parse_options(argc, argv, &usage, &options->common, error))
        return FALSE;
    if ((options->lock != NULL) == (*argc > 1)) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "name a change, or a lock with --lock");
        return FALSE;
    }
    return !options->since || parse_since(options->since, &options->since_usec, error);
}

int
ctl_verb_report(int argc, char **argv, GError **error)
{
    g_auto(ReportOptions) options = {0};
    g_autoptr(GPtrArray) entries = NULL;
    const char *value;

    if (!parse_report_options(&argc, &argv, &options, error))
        return CTL_EXIT_USAGE;
    if (options.common.host) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE,
                            "it reads the journal of this host: run it on the other one");
        return CTL_EXIT_USAGE;
    }
    value = options.lock ? options.lock : argv[1];
    entries = ctl_journal_read(options.directory, options.lock ? "LOCK_ID" : "CHANGE_ID", value,
                               options.since_usec, error);
    if (!entries)
        return CTL_EXIT_FAILURE;
    if (entries->len == 0) {
        g_set_error(error, CTL_ERROR, APMIG_EXIT_NOT_FOUND, "the journal has nothing of the %s %s%s",
                    options.lock ? "lock" : "change", value,
                    geteuid() == 0 ? "" : ", as far as you may read it: try as root");
        return APMIG_EXIT_NOT_FOUND;
    }
    if (options.common.json != CTL_JSON_OFF)
        ctl_print_json(report_to_json(entries, options.lock ? "Lock" : "ChangeId", value),
                       options.common.json);
    else
        print_report(entries, options.lock ? "Lock" : "Change", value);
    return CTL_EXIT_OK;
}
