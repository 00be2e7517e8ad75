/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb, what it prints, and what apmigd itself tells. */
#include "doctor.h"

#include <stdio.h>

#include "ctl.h"
#include "fence-client.h"
#include "format.h"
#include "names.h"
#include "options.h"

#define QUEUES_SHOWN 4

typedef struct {
    CtlVerdict verdict;
    const char *check;
    char *text;
    char *remedy;
} Finding;

static void
finding_free(gpointer data)
{
    Finding *finding = data;

    g_free(finding->text);
    g_free(finding->remedy);
    g_free(finding);
}

void
ctl_doctor_tell(CtlDoctor *doctor, CtlVerdict verdict, const char *check, const char *remedy,
                const char *format, ...)
{
    Finding *finding = g_new0(Finding, 1);
    va_list args;

    va_start(args, format);
    finding->text = g_strdup_vprintf(format, args);
    va_end(args);
    finding->verdict = verdict;
    finding->check = check;
    finding->remedy = g_strdup(remedy ? remedy : "");
    g_ptr_array_add(doctor->findings, finding);
}

/* --- apmigd -------------------------------------------------------------------------------------- */

static void
check_daemon(CtlDoctor *doctor, const GError *error)
{
    const char *version = doctor->manager ? ctl_string(doctor->manager, "Version") : "";

    if (!doctor->manager)
        ctl_doctor_tell(doctor, CTL_VERDICT_PROBLEM, "apmigd", "systemctl status apmigd",
                        "apmigd does not answer: %s.", error->message);
    else if (!g_str_equal(version, APMIG_VERSION))
        ctl_doctor_tell(doctor, CTL_VERDICT_PROBLEM, "apmigd", "systemctl restart apmigd",
                        "apmigd %s runs, but %s is installed: it was not restarted.", version, APMIG_VERSION);
    else
        ctl_doctor_tell(doctor, CTL_VERDICT_OK, "apmigd", NULL, "apmigd %s runs and answers.", version);
}

static void
check_view(CtlDoctor *doctor)
{
    const char *state = ctl_string(doctor->manager, "HypervisorState");

    if (g_str_equal(state, "disconnected"))
        ctl_doctor_tell(doctor, CTL_VERDICT_PROBLEM, "view", "systemctl status libvirtd virtqemud",
                        "apmigd does not reach libvirt (%s): no lock can be held.",
                        doctor->config->libvirt_uri);
    else
        ctl_doctor_tell(doctor, CTL_VERDICT_OK, "view", NULL, "apmigd sees the guests of libvirt: %s.",
                        state);
}

/* Returns: (transfer full) (nullable): what ListQueues answers. */
static JsonNode *
list_queues(const CtlDoctor *doctor, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(doctor->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListQueues", error);
    g_autoptr(sd_bus_message) reply =
        call ? ctl_bus_call(doctor->bus, call, CTL_CALL_USEC, NULL, NULL, error) : NULL;
    g_autoptr(JsonNode) node = reply ? ctl_bus_read_json(reply, error) : NULL;

    if (!node || JSON_NODE_HOLDS_ARRAY(node))
        return g_steal_pointer(&node);
    g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE, "its answer is no list");
    return NULL;
}

/* A queue that is passed through to a process which is no guest of the libvirt that apmigd sees. */
static gboolean
is_of_a_stranger(JsonObject *queue)
{
    return g_str_equal(ctl_string(queue, "status"), "in use") && ctl_bool(queue, "guest-known") &&
           !*ctl_string(queue, "guest-name");
}

static void
check_queues(CtlDoctor *doctor)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = list_queues(doctor, &error);
    JsonArray *queues = node ? json_node_get_array(node) : NULL;
    guint n = queues ? json_array_get_length(queues) : 0, n_strange = 0;
    g_autoptr(GString) strange = g_string_new(NULL);

    if (!queues) {
        ctl_doctor_tell(doctor, CTL_VERDICT_UNKNOWN, "queues", "apmigctl queues",
                        "The AP queues of this host are not known: %s.", error->message);
        return;
    }
    for (guint i = 0; i < n; i++) {
        JsonObject *queue = json_array_get_object_element(queues, i);

        if (is_of_a_stranger(queue) && n_strange++ < QUEUES_SHOWN)
            g_string_append_printf(strange, "%s%s", strange->len > 0 ? ", " : "", ctl_string(queue, "queue"));
    }
    if (n_strange == 0)
        ctl_doctor_tell(doctor, CTL_VERDICT_OK, "queues", NULL,
                        "%u AP queues; libvirt knows the guest of each that is in use.", n);
    else
        ctl_doctor_tell(doctor, CTL_VERDICT_PROBLEM, "queues",
                        "find the QEMU that has the device shown by: apmigctl queues",
                        "%u AP queue%s (%s%s) used by a guest that is not of this libvirt: its migration is "
                        "not seen.",
                        n_strange, n_strange == 1 ? " is" : "s are", strange->str,
                        n_strange > QUEUES_SHOWN ? ", ..." : "");
}

/* The user of the connection that has the name. */
static gint64
read_daemon_uid(sd_bus *bus)
{
    g_autoptr(sd_bus_message) call = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    guint32 uid;
    int r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", "GetConnectionUnixUser");

    if (r >= 0)
        r = sd_bus_message_append(call, "s", APMIG_BUS_NAME);
    if (r >= 0)
        reply = ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, NULL);
    return reply && sd_bus_message_read(reply, "u", &uid) > 0 ? (gint64)uid : -1;
}

/* --- what is printed ----------------------------------------------------------------------------- */

static const char *const verdict_names[] = {
    [CTL_VERDICT_OK] = "ok",
    [CTL_VERDICT_UNKNOWN] = "unknown",
    [CTL_VERDICT_PROBLEM] = "problem",
};

static gboolean
is_well(const CtlDoctor *doctor)
{
    for (guint i = 0; i < doctor->findings->len; i++) {
        const Finding *finding = g_ptr_array_index(doctor->findings, i);

        if (finding->verdict != CTL_VERDICT_OK)
            return FALSE;
    }
    return TRUE;
}

static JsonNode *
findings_to_json(const CtlDoctor *doctor)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonArray *array = json_array_new();

    for (guint i = 0; i < doctor->findings->len; i++) {
        const Finding *finding = g_ptr_array_index(doctor->findings, i);
        JsonObject *member = json_object_new();

        json_object_set_string_member(member, "Check", finding->check);
        json_object_set_string_member(member, "Verdict", verdict_names[finding->verdict]);
        json_object_set_string_member(member, "Text", finding->text);
        json_object_set_string_member(member, "Remedy", finding->remedy);
        json_array_add_object_element(array, member);
    }
    json_object_set_boolean_member(object, "Well", is_well(doctor));
    json_object_set_array_member(object, "Findings", array);
    return json_node_init_object(json_node_alloc(), object);
}

static void
print_findings(const CtlDoctor *doctor, gboolean quiet)
{
    for (guint i = 0; i < doctor->findings->len; i++) {
        const Finding *finding = g_ptr_array_index(doctor->findings, i);
        g_autofree char *text = ctl_escape(finding->text);
        g_autofree char *remedy = ctl_escape(finding->remedy);

        if (quiet && finding->verdict == CTL_VERDICT_OK)
            continue;
        printf("%-8s %-12s %s\n",
               finding->verdict == CTL_VERDICT_PROBLEM ? "PROBLEM" : verdict_names[finding->verdict],
               finding->check, text);
        if (*remedy)
            printf("%22s-> %s\n", "", remedy);
    }
}

/* --- the verb ------------------------------------------------------------------------------------ */

static void
check_all(CtlDoctor *doctor)
{
    g_autoptr(GError) error = NULL;

    doctor->manager = ctl_bus_get_manager(doctor->bus, &error);
    doctor->daemon_uid = doctor->manager ? read_daemon_uid(doctor->bus) : -1;
    check_daemon(doctor, error);
    if (doctor->manager)
        check_view(doctor);
    ctl_doctor_check_hook(doctor);
    ctl_doctor_check_workers(doctor);
    ctl_doctor_check_folders(doctor);
    ctl_doctor_check_permissions(doctor);
    ctl_doctor_check_helper(doctor);
    if (doctor->manager)
        check_queues(doctor);
}

/* Returns: (transfer full): what the file says, or the defaults: then that is a finding. */
static ApmigConfig *
load_config(CtlDoctor *doctor, gboolean must_exist)
{
    g_autoptr(GError) error = NULL;
    ApmigConfig *config = apmig_config_load(doctor->config_file, must_exist, &error);

    if (config)
        return config;
    ctl_doctor_tell(doctor, CTL_VERDICT_PROBLEM, "config", "correct it, and try: apmigd --check-config",
                    "The configuration does not read: %s.", error->message);
    return apmig_config_load("/dev/null", FALSE, NULL);
}

static const char doctor_summary[] =
    "Looks whether apmigd, its hook and its helper are in place on this host, and whether libvirt calls the\n"
    "hook and can end migrations when many are under way. Prints a line for each, and what to do where\n"
    "something is wrong. Run it as root: others cannot look at everything. Nothing is changed.\n"
    "Exits with 0 when all is well, with 1 when something is not, or cannot be known.";

int
ctl_verb_doctor(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    g_autofree char *config_file = NULL;
    g_autofree char *fence_socket = NULL;
    const GOptionEntry entries[] = {
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &config_file,
         "Look at FILE and the folders beside it instead of " APMIG_CONFIG_FILE, "FILE"},
        {"fence-socket", 0, 0, G_OPTION_ARG_FILENAME, &fence_socket,
         "The helper's socket (default: " APMIG_FENCE_SOCKET ")", "PATH"},
        {NULL},
    };
    const CtlUsage usage = {"", doctor_summary, NULL, entries, 0, 0};
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(finding_free);
    CtlDoctor doctor = {.findings = findings};
    g_autoptr(ApmigConfig) config = NULL;
    g_autoptr(sd_bus) bus = NULL;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_USAGE;
    if (common.host) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "it looks at files of this host: run it on the other one");
        return CTL_EXIT_USAGE;
    }
    bus = ctl_bus_open(NULL, error);
    if (!bus)
        return CTL_EXIT_UNREACHABLE;
    doctor.bus = bus;
    doctor.config_file = config_file ? config_file : APMIG_CONFIG_FILE;
    doctor.fence_socket = fence_socket ? fence_socket : APMIG_FENCE_SOCKET;
    config = load_config(&doctor, config_file != NULL);
    doctor.config = config;
    check_all(&doctor);

    if (common.json != CTL_JSON_OFF)
        ctl_print_json(findings_to_json(&doctor), common.json);
    else
        print_findings(&doctor, common.quiet);
    g_clear_pointer(&doctor.manager, json_object_unref);
    return is_well(&doctor) ? CTL_EXIT_OK : CTL_EXIT_FAILURE;
}
