/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/doctor.h"
#include "ctl/format.h"
#include "ctl/lock.h"
#include "names.h"
#include "ctl/options.h"
#include "ctl/permits.h"

/* --- rows ---------------------------------------------------------------------------------------- */

static const char *const lock_titles[] = {"LOCK", "STATE", "SCOPE", "OWNER", "SINCE", "REASON", NULL};
static const char *const migration_titles[] = {"GUEST", "DIRECTION", "PHASE", "SCOPE", "LEFT", "SINCE", NULL};

static char *
describe_state(JsonObject *lock)
{
    GString *text = g_string_new(ctl_string(lock, "State"));
    gint64 breaches = ctl_int(lock, "Breaches"), attempts = ctl_int(lock, "Attempts");
    guint n_departed = ctl_lock_n_departed(lock);

    if (ctl_bool(lock, "Overdue"))
        g_string_append(text, ", overdue");
    if (breaches > 0)
        g_string_append_printf(text, ", %" G_GINT64_FORMAT " breach%s", breaches, breaches == 1 ? "" : "es");
    if (attempts > 0)
        g_string_append_printf(text, ", %" G_GINT64_FORMAT " attempt%s", attempts, attempts == 1 ? "" : "s");
    if (n_departed > 0)
        g_string_append_printf(text, ", %u departed", n_departed);
    if (ctl_lock_covers_nothing(lock))
        g_string_append(text, ", covers nothing here");
    return g_string_free(text, FALSE);
}

static char *
describe_owner(JsonObject *lock)
{
    const char *name = ctl_string(lock, "OwnerName");

    return *name ? g_strdup(name) : g_strdup_printf("%" G_GINT64_FORMAT, ctl_int(lock, "OwnerUid"));
}

static char *
describe_since(JsonObject *lock)
{
    gint64 held_at = ctl_int(lock, "HeldAt");

    return ctl_format_time(held_at > 0 ? held_at : ctl_int(lock, "RequestedAt"));
}

static GPtrArray *
lock_rows(GPtrArray *locks)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);
        char **row = g_new0(char *, G_N_ELEMENTS(lock_titles));

        row[0] = g_strdup(ctl_string(lock, "Id"));
        row[1] = describe_state(lock);
        row[2] = g_strdup(ctl_string(lock, "Scope"));
        row[3] = describe_owner(lock);
        row[4] = describe_since(lock);
        row[5] = g_strdup(ctl_string(lock, "Reason"));
        g_ptr_array_add(rows, row);
    }
    return rows;
}

static char *
describe_left(JsonObject *migration)
{
    JsonNode *node = json_object_get_member(migration, "Progress");
    gint64 left =
        node && JSON_NODE_HOLDS_OBJECT(node) ? ctl_int(json_node_get_object(node), "data-remaining") : 0;

    return left > 0 ? g_format_size_full((guint64)left, G_FORMAT_SIZE_IEC_UNITS) : g_strdup("-");
}

static GPtrArray *
migration_rows(GPtrArray *migrations)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < migrations->len; i++) {
        JsonObject *migration = g_ptr_array_index(migrations, i);
        char **row = g_new0(char *, G_N_ELEMENTS(migration_titles));

        row[0] = g_strdup(ctl_string(migration, "Guest"));
        row[1] = g_strdup(ctl_string(migration, "Direction"));
        row[2] =
            g_strconcat(ctl_string(migration, "Phase"), ctl_bool(migration, "PostCopy") ? ", post-copy" : "",
                        ctl_bool(migration, "Permitted") ? ", permitted" : "", NULL);
        row[3] = g_strdup(ctl_string(migration, "Scope"));
        row[4] = describe_left(migration);
        row[5] = ctl_format_time(ctl_int(migration, "StartedAt"));
        g_ptr_array_add(rows, row);
    }
    return rows;
}

static void
print_locks(GPtrArray *locks, const char *indent)
{
    g_autoptr(GPtrArray) rows = lock_rows(locks);

    if (locks->len == 0)
        printf("%sNo locks.\n", indent);
    else
        ctl_print_table(lock_titles, rows, indent);
}

/* Of an outgoing one libvirt tells nobody who does not ask, and apmigd asks only for a lock. */
static void
print_migrations(GPtrArray *migrations, GPtrArray *locks, const char *indent)
{
    g_autoptr(GPtrArray) rows = migration_rows(migrations);

    if (migrations->len > 0)
        ctl_print_table(migration_titles, rows, indent);
    else if (locks->len > 0)
        printf("%sNo migrations of affected guests in progress.\n", indent);
    else
        printf("%sNo incoming migrations of affected guests in progress.\n", indent);
    if (locks->len == 0)
        printf("%s%s\n", indent, CTL_UNWATCHED);
}

static JsonNode *
array_of(GPtrArray *objects)
{
    g_autoptr(JsonArray) array = json_array_new();

    for (guint i = 0; i < objects->len; i++)
        json_array_add_object_element(array, json_object_ref(g_ptr_array_index(objects, i)));
    return json_node_init_array(json_node_alloc(), array);
}

/* --- list, migrations ---------------------------------------------------------------------------- */

static void
print_field(const char *name, const char *value)
{
    g_autofree char *safe = ctl_escape(value);

    if (*safe)
        printf("%12s: %s\n", name, safe);
}

/* What keeps keys from being changed, and what to do about it. */
static void
print_troubles(JsonObject *lock)
{
    g_autofree char *departed = ctl_lock_describe_departed(lock);
    g_autofree char *remedy = ctl_lock_departed_remedy(lock);

    print_field("Unproven", ctl_string(lock, "Unproven"));
    print_field("Departed", departed);
    if (*departed)
        print_field("Acknowledge", remedy);
    if (ctl_lock_covers_nothing(lock))
        print_field("Covers", "no AP queue of this host and no guest on it; see: apmigctl queues");
}

static void
print_lock(JsonObject *lock)
{
    gint64 expected = ctl_int(lock, "ExpectedDuration");
    g_autofree char *state = describe_state(lock);
    g_autofree char *owner = describe_owner(lock);
    g_autofree char *requested = ctl_format_time(ctl_int(lock, "RequestedAt"));
    g_autofree char *held = ctl_format_time(ctl_int(lock, "HeldAt"));
    g_autofree char *proven =
        ctl_int(lock, "ProvenAt") > 0 ? ctl_format_time(ctl_int(lock, "ProvenAt")) : g_strdup("");
    g_autofree char *announced = expected > 0 ? ctl_format_duration(expected) : g_strdup("");

    print_field("Lock", ctl_string(lock, "Id"));
    print_field("State", state);
    print_field("Waiting for", ctl_string(lock, "Waiting"));
    print_troubles(lock);
    print_field("Scope", ctl_string(lock, "Scope"));
    print_field("Reason", ctl_string(lock, "Reason"));
    print_field("Change", ctl_string(lock, "ChangeId"));
    print_field("Owner", owner);
    print_field("Origin", ctl_string(lock, "Origin"));
    print_field("On busy", ctl_string(lock, "OnBusy"));
    print_field("Requested", requested);
    print_field("Held since", held);
    print_field("Proven at", proven);
    print_field("Announced", announced);
    print_field("Unverified", ctl_string(lock, "Unverified"));
    print_field("Warnings", ctl_string(lock, "Warnings"));
    print_field("Result", ctl_string(lock, "Result"));
    print_field("Message", ctl_string(lock, "Message"));
    if (!*ctl_string(lock, "Result"))
        printf("%12s: apmigctl unlock %s\n", "Release", ctl_string(lock, "Id"));
}

int
ctl_verb_list(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    const CtlUsage usage = {"[LOCK]",
                            "Lists the locks of this host, oldest first; with LOCK, that one in full, for a "
                            "while also when it has ended.",
                            NULL,
                            NULL,
                            0,
                            1};
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);

    if (!bus || !ctl_bus_get_objects(bus, CTL_CALL_USEC, argc > 1, &locks, &migrations, error))
        return CTL_EXIT_FAILURE;

    JsonObject *only = argc > 1 ? ctl_find_lock(locks, argv[1], error) : NULL;

    if (argc > 1 && !only)
        return CTL_EXIT_FAILURE;
    if (common.json != CTL_JSON_OFF)
        ctl_print_json(only ? json_node_init_object(json_node_alloc(), only) : array_of(locks), common.json);
    else if (only)
        print_lock(only);
    else if (locks->len > 0 || !common.quiet)
        print_locks(locks, "");
    return CTL_EXIT_OK;
}

int
ctl_verb_migrations(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    const CtlUsage usage = {
        "", "Lists the migrations of affected guests that are in progress on this host.", NULL, NULL, 0, 0};
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);

    if (!bus || !ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, error))
        return CTL_EXIT_FAILURE;
    if (common.json != CTL_JSON_OFF)
        ctl_print_json(array_of(migrations), common.json);
    else if (migrations->len > 0 || !common.quiet)
        print_migrations(migrations, locks, "");
    return CTL_EXIT_OK;
}

/* --- status -------------------------------------------------------------------------------------- */

/* What a lock waits for need be no migration. */
static void
print_waits(GPtrArray *locks)
{
    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);
        g_autofree char *id = ctl_escape(ctl_string(lock, "Id"));
        g_autofree char *what = ctl_escape(ctl_string(lock, "Waiting"));
        g_autofree char *unproven = ctl_escape(ctl_string(lock, "Unproven"));
        g_autofree char *gone = ctl_lock_describe_departed(lock);
        g_autofree char *departed = ctl_escape(gone);
        g_autofree char *remedy = ctl_lock_departed_remedy(lock);

        if (*what)
            printf("  Lock %s waits for: %s\n", id, what);
        if (*unproven)
            printf("  Lock %s is unproven: %s\n", id, unproven);
        if (*departed)
            printf("  Under lock %s have gone, and nobody saw how: %s; %s\n", id, departed, remedy);
        if (ctl_lock_covers_nothing(lock))
            printf("  Lock %s covers no AP queue of this host and no guest on it: is its scope meant so?\n",
                   id);
    }
}

static void
print_status(JsonObject *manager, GPtrArray *locks, GPtrArray *migrations, GPtrArray *permits)
{
    gboolean hook = ctl_bool(manager, "HookInstalled");
    g_autofree char *called = ctl_format_time(ctl_int(manager, "HookLastCalled"));
    g_autofree char *version = ctl_escape(ctl_string(manager, "Version"));
    g_autofree char *hypervisor = ctl_escape(ctl_string(manager, "HypervisorState"));
    g_autofree char *problem = ctl_escape(ctl_string(manager, "HypervisorProblem"));
    g_autofree char *trouble = ctl_escape(ctl_string(manager, "KeyTrouble"));
    g_autofree char *policy = ctl_escape(ctl_string(manager, "PolicyTrouble"));

    printf("   Version: %s\n"
           "Hypervisor: %s%s%s\n"
           "      Hook: %s, last called: %s\n"
           "    Locked: %s\n",
           version, hypervisor, *problem ? ": " : "", problem,
           hook ? "installed" : "NOT INSTALLED: guests can come in under a lock", called,
           ctl_bool(manager, "Locked") ? "yes" : "no");
    if (*trouble)
        printf("      Keys: %s See 'apmigctl keys'.\n", trouble);
    if (*policy)
        printf("    Policy: the old one stays in force: %s\n", policy);
    putchar('\n');
    puts("Locks:");
    print_locks(locks, "  ");
    print_waits(locks);
    puts("\nMigrations:");
    print_migrations(migrations, locks, "  ");
    if (permits->len == 0)
        return;
    puts("\nPermits:");
    ctl_permits_print(permits, "  ");
}

/* As a plug-in of a monitoring system: one line. Returns: an exit status of theirs. */
static int
check_status(const char *host)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_host(host, &error);
    g_auto(CtlDoctor) doctor = {.bus = bus};
    int status;

    ctl_doctor_init(&doctor);
    if (bus)
        ctl_doctor_check_daemon(&doctor);
    else
        ctl_doctor_tell_no_answer(&doctor, error);
    if (doctor.manager)
        ctl_doctor_check_hook(&doctor);
    status = ctl_findings_print_summary(doctor.findings);
    if (doctor.manager)
        printf(" | locks=%u migrations=%u", doctor.locks->len, doctor.migrations->len);
    putchar('\n');
    return status;
}

int
ctl_verb_status(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    gboolean check = FALSE;
    const GOptionEntry entries[] = {
        {"check", 0, 0, G_OPTION_ARG_NONE, &check,
         "Print one line and exit as a monitoring plug-in: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN", NULL},
        {NULL},
    };
    const CtlUsage usage = {
        "", "Shows apmigd's state, the locks, the migrations in progress, and permits.", NULL, entries, 0, 0};
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    g_autoptr(GPtrArray) permits = NULL;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;
    if (check)
        return check_status(common.host);

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);
    g_autoptr(JsonObject) manager = bus ? ctl_bus_get_manager(bus, error) : NULL;
    gboolean known = manager && ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, error);

    permits = known ? ctl_permits_read(bus, error) : NULL;
    if (!permits)
        return CTL_EXIT_FAILURE;
    if (common.json != CTL_JSON_OFF) {
        json_object_set_member(manager, "Locks", array_of(locks));
        json_object_set_member(manager, "Migrations", array_of(migrations));
        json_object_set_member(manager, "Permits", array_of(permits));
        ctl_print_json(json_node_init_object(json_node_alloc(), manager), common.json);
    } else {
        print_status(manager, locks, migrations, permits);
    }
    return CTL_EXIT_OK;
}
