/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Could a guest move now? Asked of this host alone, or of the one where it is to go. */
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/check-table.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "guest/xml.h"
#include "names.h"
#include "ctl/options.h"

/* The daemon asks cards, and libvirt for the guest: longer than what it answers from memory. */
#define ASK_USEC (4 * CTL_CALL_USEC)

typedef struct {
    CtlCommon common;
    char *to;
    gboolean explain;
} CheckOptions;

static void
check_options_clear(CheckOptions *options)
{
    ctl_common_clear(&options->common);
    g_free(options->to);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CheckOptions, check_options_clear)

static const char check_summary[] =
    "Asks whether GUEST, a name or UUID known to this host, could move now: with --to, whether HOST would\n"
    "let it in, for its locks, keys and hardware against what the guest has here; without, whether a lock\n"
    "of this host is in the way. Exits with 0 when it could, with 20 when it could not. Nothing is changed.";

static gboolean
parse_check_options(int *argc, char ***argv, CheckOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"to", 0, 0, G_OPTION_ARG_STRING, &options->to,
         "Ask also the apmigd of HOST, over ssh, where the guest is to go", "[USER@]HOST"},
        {"explain", 0, 0, G_OPTION_ARG_NONE, &options->explain,
         "Show all that was looked at, also what is as it should be", NULL},
        {NULL},
    };
    const CtlUsage usage = {"GUEST", check_summary, NULL, entries, 1, 1};

    return ctl_parse_options(argc, argv, &usage, &options->common, error);
}

/* Returns: (transfer full) (nullable): the reply to a method that takes one string. */
static sd_bus_message *
ask(sd_bus *bus, const char *member, const char *argument, GError **error)
{
    g_autoptr(sd_bus_message) call = ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, member, error);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", argument), error))
        return NULL;
    return ctl_bus_call(bus, call, ASK_USEC, NULL, NULL, error);
}

/* Returns: (transfer full) (nullable) */
static char *
describe_guest(sd_bus *bus, const char *guest, GError **error)
{
    g_autoptr(sd_bus_message) reply = ask(bus, "DescribeGuest", guest, error);
    const char *xml;

    return reply && ctl_bus_check(sd_bus_message_read(reply, "s", &xml), error) ? g_strdup(xml) : NULL;
}

/* What either question is answered with. */
typedef struct {
    gboolean allowed;
    char *reason;
    JsonArray *rest; /* of the reply */
} Answer;

static void
answer_clear(Answer *answer)
{
    g_free(answer->reason);
    g_clear_pointer(&answer->rest, json_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Answer, answer_clear)

/* Of a method that says whether, why not, and more in an array. */
static gboolean
ask_whether(sd_bus *bus, const char *member, const char *argument, Answer *ret_answer, GError **error)
{
    g_autoptr(sd_bus_message) reply = ask(bus, member, argument, error);
    g_autoptr(JsonNode) rest = NULL;
    const char *reason;
    int allowed;

    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "bs", &allowed, &reason), error))
        return FALSE;
    rest = ctl_bus_read_json(reply, error);
    if (!rest)
        return FALSE;
    if (!JSON_NODE_HOLDS_ARRAY(rest)) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE, "apmigd's answer is no list");
        return FALSE;
    }
    ret_answer->allowed = allowed != 0;
    ret_answer->reason = g_strdup(reason);
    ret_answer->rest = json_node_dup_array(rest);
    return TRUE;
}

static JsonObject *
answer_to_json(const char *guest, const Answer *answer)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "Guest", guest);
    json_object_set_boolean_member(object, "Allowed", answer->allowed);
    json_object_set_string_member(object, "Reason", answer->reason);
    return object;
}

static void
print_object(JsonObject *object, CtlJson json)
{
    ctl_print_json(json_node_init_object(json_node_alloc(), object), json);
}

/* @may: such as "may come in" */
static void
print_answer(const char *guest, const Answer *answer, const char *may, const char *may_not)
{
    g_autofree char *safe_guest = ctl_escape(guest);
    g_autofree char *safe_reason = ctl_escape(answer->reason);

    if (answer->allowed) /* what there is to say is of a permit */
        printf("guest '%s' %s%s%s\n", safe_guest, may, *safe_reason ? ": " : "", safe_reason);
    else
        printf("guest '%s' %s: %s\n", safe_guest, may_not, safe_reason);
}

/* --- on another host ----------------------------------------------------------------------------- */

/* Of the series that brings it, states of 2026 differ in it, and sysfs does not tell which one a kernel has. */
#define FORMAT_NOTE "nothing tells whether the vfio_ap drivers of both hosts speak the same data format;"
#define FORMAT_NOTE_MORE                                                                                     \
    "a difference ends the migration at its switchover, at the source: run the same kernel on both"

/* @has_device: the guest has a vfio-ap device, whose state goes along */
static void
print_migration_check(const char *guest, const Answer *answer, const CheckOptions *options,
                      gboolean has_device)
{
    g_autoptr(JsonArray) findings = ctl_name_findings(answer->rest);
    g_autofree char *host = ctl_escape(options->to);
    g_autofree char *may = g_strdup_printf("may go to %s", host);
    g_autofree char *may_not = g_strdup_printf("may not go to %s", host);

    if (options->common.json != CTL_JSON_OFF) {
        g_autoptr(JsonObject) object = answer_to_json(guest, answer);

        json_object_set_string_member(object, "To", options->to);
        json_object_set_array_member(object, "Findings", json_array_ref(findings));
        json_object_set_string_member(object, "Note", has_device ? FORMAT_NOTE " " FORMAT_NOTE_MORE : "");
        print_object(object, options->common.json);
    } else if (!options->common.quiet) {
        print_answer(guest, answer, may, may_not);
        ctl_print_findings(findings, options->explain);
        if (answer->allowed && has_device)
            printf("note: %s\n      %s\n", FORMAT_NOTE, FORMAT_NOTE_MORE);
    }
}

static int
check_migration(sd_bus *bus, const char *guest, const CheckOptions *options, GError **error)
{
    g_auto(Answer) answer = {0};
    g_autofree char *xml = describe_guest(bus, guest, error);

    if (!xml)
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) there = ctl_bus_open_host(options->to, error);

    if (!there)
        return CTL_EXIT_FAILURE;
    if (!ask_whether(there, "CheckMigration", xml, &answer, error)) {
        g_prefix_error(error, "on host '%s': ", options->to);
        return CTL_EXIT_FAILURE;
    }
    print_migration_check(guest, &answer, options, strstr(xml, "vfio-ap") != NULL);
    return answer.allowed ? CTL_EXIT_OK : CTL_EXIT_WOULD_DENY;
}

/* --- on this host -------------------------------------------------------------------------------- */

static const char *const origin_titles[] = {"AP QUEUES", "FROM", NULL};
static const char *const lock_titles[] = {"IN THE WAY", "LOCK", "SCOPE", "OWNER", "REASON", NULL};

/* @from: (transfer full) */
static void
add_origin(GPtrArray *rows, const ApmigScope *scope, char *from)
{
    char **row = g_new0(char *, G_N_ELEMENTS(origin_titles));

    row[0] = g_strdup(apmig_scope_to_string(scope));
    row[1] = from;
    g_ptr_array_add(rows, row);
}

/* The stamp of a description is of this moment. Returns: (transfer full): what the guest's queues are known by. */
static GPtrArray *
list_origins(const ApmigGuest *guest)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    gboolean has_device = guest->n_ap_devices > 0 || guest->has_unnamed;
    const ApmigApView *view = guest->stamp ? guest->stamp->view : NULL;
    g_autoptr(ApmigScope) stamped = view ? apmig_ap_view_scope(view) : NULL;
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    if (has_device && stamped)
        add_origin(rows, stamped, g_strdup_printf("its vfio-ap device %s", guest->devices[0]));
    else if (has_device)
        add_origin(rows, all, g_strdup("a vfio-ap device whose queues are not known"));
    else if (stamped && view->queues->len > 0)
        add_origin(rows, stamped, g_strdup("the stamp in its metadata, or what it declares there"));
    if (guest->declared && (has_device || rows->len == 0))
        add_origin(rows, guest->declared, g_strdup("what its metadata declares (apmigd:keys)"));
    return rows;
}

static gboolean
is_in_the_way(const Answer *answer, JsonObject *lock)
{
    for (guint i = 0; i < json_array_get_length(answer->rest); i++)
        if (g_strcmp0(json_array_get_string_element(answer->rest, i), ctl_string(lock, "Path")) == 0)
            return TRUE;
    return FALSE;
}

static void
print_locks(const Answer *answer, GPtrArray *locks)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);
        char **row = g_new0(char *, G_N_ELEMENTS(lock_titles));

        row[0] = g_strdup(is_in_the_way(answer, lock) ? "YES" : "no");
        row[1] = g_strdup(ctl_string(lock, "Id"));
        row[2] = g_strdup(ctl_string(lock, "Scope"));
        row[3] = g_strdup(ctl_string(lock, "OwnerName"));
        row[4] = g_strdup(ctl_string(lock, "Reason"));
        g_ptr_array_add(rows, row);
    }
    putchar('\n');
    if (rows->len > 0)
        ctl_print_table(lock_titles, rows, "");
    else
        puts("This host has no locks.");
}

static JsonArray *
origins_to_json(const GPtrArray *origins)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; i < origins->len; i++) {
        char **row = g_ptr_array_index(origins, i);
        JsonObject *object = json_object_new();

        json_object_set_string_member(object, "Scope", row[0]);
        json_object_set_string_member(object, "From", row[1]);
        json_array_add_object_element(array, object);
    }
    return array;
}

/* Returns: (transfer full) (nullable) */
static GPtrArray *
find_origins(sd_bus *bus, const char *name, GError **error)
{
    g_autofree char *xml = describe_guest(bus, name, error);
    g_autoptr(ApmigGuest) guest = xml ? apmig_guest_parse(xml, strlen(xml), error) : NULL;

    return guest ? list_origins(guest) : NULL;
}

static gboolean
explain(sd_bus *bus, const char *guest, const Answer *answer, const CheckOptions *options, GError **error)
{
    g_autoptr(GPtrArray) origins = find_origins(bus, guest, error);
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!origins || !ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, error))
        return FALSE;
    if (options->common.json != CTL_JSON_OFF) {
        g_autoptr(JsonObject) object = answer_to_json(guest, answer);

        json_object_set_array_member(object, "Locks", json_array_ref(answer->rest));
        json_object_set_array_member(object, "Origins", origins_to_json(origins));
        print_object(object, options->common.json);
        return TRUE;
    }
    print_answer(guest, answer, "may come in", "may not come in");
    putchar('\n');
    if (origins->len > 0)
        ctl_print_table(origin_titles, origins, "");
    else
        puts("It has no AP queues and declares none, so no lock concerns it.");
    print_locks(answer, locks);
    return TRUE;
}

static int
check_here(sd_bus *bus, const char *guest, const CheckOptions *options, GError **error)
{
    g_auto(Answer) answer = {0};

    if (!ask_whether(bus, "CheckGuest", guest, &answer, error))
        return CTL_EXIT_FAILURE;
    if (options->explain) {
        if (!explain(bus, guest, &answer, options, error))
            return CTL_EXIT_FAILURE;
    } else if (options->common.json != CTL_JSON_OFF) {
        g_autoptr(JsonObject) object = answer_to_json(guest, &answer);

        json_object_set_array_member(object, "Locks", json_array_ref(answer.rest));
        print_object(object, options->common.json);
    } else if (!options->common.quiet) {
        print_answer(guest, &answer, "may come in", "may not come in");
    }
    return answer.allowed ? CTL_EXIT_OK : CTL_EXIT_WOULD_DENY;
}

int
ctl_verb_check(int argc, char **argv, GError **error)
{
    g_auto(CheckOptions) options = {0};

    if (!parse_check_options(&argc, &argv, &options, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&options.common, error);

    if (!bus)
        return CTL_EXIT_FAILURE;
    return options.to ? check_migration(bus, argv[1], &options, error)
                      : check_here(bus, argv[1], &options, error);
}
