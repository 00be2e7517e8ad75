/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that lets one guest migrate once in spite of locks. */
#include "ctl/agent.h"
#include "ctl/permits.h"

#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/lock.h"
#include "names.h"
#include "ctl/options.h"

static const char permit_summary[] =
    "Lets the guest with the name or UUID GUEST migrate once, out of this host or into it, in spite of locks:\n"
    "for a host that dies and must be emptied. Do it on each host that would refuse the migration: where the\n"
    "guest is, and where it goes. Master keys that differ, and hardware that does not fit, still keep it out.\n"
    "Until that migration is over, no keys of a lock over the guest may be changed. Without GUEST, permits are\n"
    "listed.";

typedef struct {
    CtlCommon common;
    gboolean once;
    gboolean revoke;
    char *reason;
    char *duration;
    char *change_id;
    gint64 duration_usec; /* 0: apmigd's own */
} PermitOptions;

static void
permit_options_clear(PermitOptions *options)
{
    g_free(options->reason);
    g_free(options->duration);
    g_free(options->change_id);
    ctl_common_clear(&options->common);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PermitOptions, permit_options_clear)

/* --- what there is ------------------------------------------------------------------------------- */

GPtrArray *
ctl_permits_read(sd_bus *bus, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListPermits", error);
    g_autoptr(JsonArray) array = call ? ctl_bus_call_for_list(bus, call, error) : NULL;
    g_autoptr(GPtrArray) permits = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);

    if (!array)
        return NULL;
    for (guint i = 0; i < json_array_get_length(array); i++)
        g_ptr_array_add(permits, json_object_ref(json_array_get_object_element(array, i)));
    return g_steal_pointer(&permits);
}

const char *
ctl_permit_guest(JsonObject *permit)
{
    const char *name = ctl_string(permit, "guest");

    return *name ? name : ctl_string(permit, "uuid");
}

void
ctl_permits_print(GPtrArray *permits, const char *indent)
{
    static const char *const titles[] = {"GUEST", "UNTIL", "BY", "REASON", NULL};
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < permits->len; i++) {
        JsonObject *permit = g_ptr_array_index(permits, i);
        char **row = g_new0(char *, G_N_ELEMENTS(titles));

        row[0] = g_strdup(ctl_permit_guest(permit));
        row[1] = ctl_bool(permit, "in-use") ? g_strdup_printf("migrates %s", ctl_string(permit, "direction"))
                                            : ctl_format_time(ctl_int(permit, "until"));
        row[2] = g_strdup(ctl_string(permit, "owner-name"));
        row[3] = g_strdup(ctl_string(permit, "reason"));
        g_ptr_array_add(rows, row);
    }
    if (rows->len > 0)
        ctl_print_table(titles, rows, indent);
}

static int
list(sd_bus *bus, const PermitOptions *options, GError **error)
{
    g_autoptr(GPtrArray) permits = ctl_permits_read(bus, error);
    g_autoptr(JsonArray) array = json_array_new();

    if (!permits)
        return CTL_EXIT_FAILURE;
    for (guint i = 0; i < permits->len; i++)
        json_array_add_object_element(array, json_object_ref(g_ptr_array_index(permits, i)));
    if (options->common.json != CTL_JSON_OFF)
        ctl_print_json(json_node_init_array(json_node_alloc(), array), options->common.json);
    else if (permits->len > 0)
        ctl_permits_print(permits, "");
    else if (!options->common.quiet)
        puts("No permits.");
    return CTL_EXIT_OK;
}

/* --- giving and revoking ------------------------------------------------------------------------- */

static gboolean
append_options(sd_bus_message *call, const PermitOptions *options, GError **error)
{
    int r = sd_bus_message_open_container(call, 'a', "{sv}");

    if (r >= 0 && options->duration_usec)
        r = sd_bus_message_append(call, "{sv}", "duration-usec", "t", (uint64_t)options->duration_usec);
    if (r >= 0 && options->change_id)
        r = sd_bus_message_append(call, "{sv}", "change-id", "s", options->change_id);
    if (r >= 0)
        r = sd_bus_message_close_container(call);
    return ctl_bus_check(r, error);
}

/* Returns: whether this host has no such guest: it is to come in then, or its name is misspelt. */
static gboolean
is_unknown_here(sd_bus *bus, const char *guest)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "CheckGuest", &error);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", guest), &error))
        return FALSE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, &error);

    return !reply && g_error_matches(error, CTL_ERROR, APMIG_EXIT_NOT_FOUND);
}

static void
print_given(sd_bus *bus, const char *guest, gint64 until, const PermitOptions *options)
{
    g_autofree char *time = ctl_format_time(until);
    g_autofree char *safe = ctl_escape(guest);

    if (options->common.json != CTL_JSON_OFF) {
        g_autoptr(JsonObject) object = json_object_new();

        json_object_set_string_member(object, "Guest", guest);
        json_object_set_int_member(object, "Until", until);
        ctl_print_json(json_node_init_object(json_node_alloc(), object), options->common.json);
    } else if (!options->common.quiet) {
        printf("Guest '%s' may migrate once, beginning before %s.\n", safe, time);
        if (is_unknown_here(bus, guest))
            printf("This host does not know it: the permit is for a guest of that name that comes in.\n");
    }
}

static int
give(sd_bus *bus, const char *guest, const PermitOptions *options, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "PermitMigration", error);
    uint64_t until;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "ss", guest, options->reason), error) ||
        !append_options(call, options, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_STUCK_USEC, NULL, NULL, error);

    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "t", &until), error))
        return CTL_EXIT_FAILURE;
    print_given(bus, guest, (gint64)until, options);
    return CTL_EXIT_OK;
}

static int
take_back(sd_bus *bus, const char *guest, const PermitOptions *options, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "RevokePermit", error);
    g_autofree char *safe = ctl_escape(guest);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", guest), error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_STUCK_USEC, NULL, NULL, error);

    if (!reply)
        return CTL_EXIT_FAILURE;
    if (!options->common.quiet && options->common.json == CTL_JSON_OFF)
        printf("The permit of guest '%s' is revoked.\n", safe);
    return CTL_EXIT_OK;
}

/* --- the verb ------------------------------------------------------------------------------------ */

/* Returns: (nullable): what is wrong with the options as they go together. */
static const char *
find_mistake(const PermitOptions *options, gboolean has_guest)
{
    gboolean gives = options->once || options->reason || options->duration || options->change_id;

    if (!has_guest)
        return gives || options->revoke ? "name the guest" : NULL;
    if (options->revoke)
        return gives ? "a permit is revoked without further options" : NULL;
    if (!options->once)
        return "a permit is for one migration: say so, with --once";
    return options->reason ? NULL : "say why, with --reason=";
}

static gboolean
parse_permit_options(int *argc, char ***argv, PermitOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"once", 0, 0, G_OPTION_ARG_NONE, &options->once, "For one migration; needed", NULL},
        {"reason", 0, 0, G_OPTION_ARG_STRING, &options->reason, "Why, for the records; needed", "REASON"},
        {"duration", 0, 0, G_OPTION_ARG_STRING, &options->duration,
         "How long the migration may take to begin, 4h at most (default: 15min)", "TIME"},
        {"change-id", 0, 0, G_OPTION_ARG_STRING, &options->change_id, "Number of the change request", "ID"},
        {"revoke", 0, 0, G_OPTION_ARG_NONE, &options->revoke, "End the permit, which is not used yet", NULL},
        {NULL},
    };
    const CtlUsage usage = {"[GUEST]", permit_summary, NULL, entries, 0, 1};
    const char *mistake;

    if (!ctl_parse_options(argc, argv, &usage, &options->common, error))
        return FALSE;
    mistake = find_mistake(options, *argc > 1);
    if (mistake) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, mistake);
        return FALSE;
    }
    return !options->duration || ctl_parse_duration(options->duration, &options->duration_usec, error);
}

int
ctl_verb_permit(int argc, char **argv, GError **error)
{
    g_auto(PermitOptions) options = {0};

    if (!parse_permit_options(&argc, &argv, &options, error))
        return CTL_EXIT_USAGE;

    g_autoptr(CtlAgent) agent = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_to_change(&options.common, &agent, error);

    if (!bus)
        return CTL_EXIT_FAILURE;
    if (argc == 1)
        return list(bus, &options, error);
    return options.revoke ? take_back(bus, argv[1], &options, error) : give(bus, argv[1], &options, error);
}
