/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs that show what there is on many hosts. */
#include <stdio.h>

#include "hosts/reach.h"
#include "hosts/report.h"
#include "hosts/verbs.h"
#include "names.h"

#define CHECK_USEC (4 * CTL_CALL_USEC) /* the daemon asks libvirt for the guest */

static const char *const list_titles[] = {"HOST",  "LOCK",       "CHANGE", "SCOPE", "STATE",
                                          "OWNER", "HELD SINCE", "REASON", NULL};
static const char *const status_titles[] = {"HOST",  "APMIGD",     "HYPERVISOR", "HOOK",
                                            "LOCKS", "MIGRATIONS", "PROBLEM",    NULL};
static const char *const check_titles[] = {"HOST", "GUEST", "WHY", NULL};

typedef char **(*RowFunc)(const HostsHost *host);
typedef JsonObject *(*ObjectFunc)(const HostsHost *host);

/* A verb that has something done by each host, and shows what has come of it. */
typedef struct {
    const char *argument; /* (nullable): what its only one is called: a guest; NULL: it has none */
    const char *summary;
    HostsWork work;
    ObjectFunc to_json;
    void (*print)(const GPtrArray *hosts, gboolean quiet);
    int (*get_status)(const GPtrArray *hosts); /* with which it exits */
} Verb;

/* Those that could not be asked, one a line. */
static void
print_failures(const GPtrArray *hosts)
{
    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);
        const GError *failure = hosts_failure(host);
        g_autofree char *message = failure ? ctl_escape(failure->message) : NULL;

        if (failure)
            printf("%s: %s\n", host->name, message);
    }
}

static JsonObject *
new_object(const HostsHost *host)
{
    const GError *failure = hosts_failure(host);
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "Host", host->name);
    json_object_set_boolean_member(object, "Answered", failure == NULL);
    json_object_set_string_member(object, "Problem", failure ? failure->message : "");
    return object;
}

static void
print_json(const GPtrArray *hosts, ObjectFunc make, CtlJson json)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonArray *array = json_array_new();

    for (guint i = 0; i < hosts->len; i++)
        json_array_add_object_element(array, make(g_ptr_array_index(hosts, i)));
    json_object_set_array_member(object, "Hosts", array);
    ctl_print_json(json_node_init_object(json_node_alloc(), object), json);
}

static void
print_rows(const GPtrArray *hosts, const char *const *row_titles, RowFunc make)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < hosts->len; i++)
        g_ptr_array_add(rows, make(g_ptr_array_index(hosts, i)));
    ctl_print_table(row_titles, rows, "");
}

static int
run(const Verb *verb, int argc, char **argv, GError **error)
{
    g_auto(HostsOptions) options = {0};
    const int n_arguments = verb->argument ? 1 : 0;
    const CtlUsage usage = {
        verb->argument ? verb->argument : "", verb->summary, NULL, NULL, n_arguments, n_arguments};

    if (!hosts_parse_options(&argc, &argv, &usage, &options, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(HostsTask) task = hosts_task_new(options.silence_usec);
    g_autoptr(HostsCrew) crew = hosts_crew_of(&options);

    task->guest = g_strdup(verb->argument ? argv[1] : NULL);
    hosts_task_run(crew, verb->work, task);
    if (options.common.json != CTL_JSON_OFF)
        print_json(hosts_crew_hosts(crew), verb->to_json, options.common.json);
    else
        verb->print(hosts_crew_hosts(crew), options.common.quiet);
    return verb->get_status(hosts_crew_hosts(crew));
}

/* --- list ----------------------------------------------------------------------------------------- */

static void
add_locks(GPtrArray *rows, const HostsHost *host)
{
    for (guint i = 0; !hosts_failure(host) && i < host->locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(host->locks, i);
        const char *change_id = ctl_string(lock, "ChangeId");
        char **row = g_new0(char *, G_N_ELEMENTS(list_titles));

        row[0] = g_strdup(host->name);
        row[1] = g_strdup(ctl_string(lock, "Id"));
        row[2] = g_strdup(*change_id ? change_id : "-");
        row[3] = g_strdup(ctl_string(lock, "Scope"));
        row[4] = g_strdup(ctl_string(lock, "State"));
        row[5] = g_strdup(ctl_string(lock, "OwnerName"));
        row[6] = ctl_format_time(ctl_int(lock, "HeldAt"));
        row[7] = g_strdup(ctl_string(lock, "Reason"));
        g_ptr_array_add(rows, row);
    }
}

static JsonObject *
locks_to_json(const HostsHost *host)
{
    JsonObject *object = new_object(host);
    JsonArray *locks = json_array_new();

    for (guint i = 0; !hosts_failure(host) && i < host->locks->len; i++)
        json_array_add_object_element(locks, json_object_ref(g_ptr_array_index(host->locks, i)));
    json_object_set_array_member(object, "Locks", locks);
    return object;
}

static void
print_locks(const GPtrArray *hosts, gboolean quiet)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < hosts->len; i++)
        add_locks(rows, g_ptr_array_index(hosts, i));
    if (rows->len > 0)
        ctl_print_table(list_titles, rows, "");
    else if (!quiet)
        puts("No host that answers has a lock.");
    print_failures(hosts);
}

int
hosts_verb_list(int argc, char **argv, GError **error)
{
    static const Verb verb = {
        .summary = "Lists the locks of all hosts.",
        .work = hosts_look,
        .to_json = locks_to_json,
        .print = print_locks,
        .get_status = hosts_failure_status,
    };

    return run(&verb, argc, argv, error);
}

/* --- status --------------------------------------------------------------------------------------- */

static const char *
trouble_of(const HostsHost *host)
{
    static const char *const properties[] = {"HypervisorProblem", "PolicyTrouble", "StampTrouble",
                                             "DeviceTrouble", "KeyTrouble"};

    if (hosts_failure(host))
        return hosts_failure(host)->message;
    for (guint i = 0; i < G_N_ELEMENTS(properties); i++)
        if (*ctl_string(host->manager, properties[i]))
            return ctl_string(host->manager, properties[i]);
    return "";
}

static char **
status_row(const HostsHost *host)
{
    char **row = g_new0(char *, G_N_ELEMENTS(status_titles));
    gboolean is_known = !hosts_failure(host);

    row[0] = g_strdup(host->name);
    row[1] = g_strdup(is_known ? ctl_string(host->manager, "Version") : "-");
    row[2] = g_strdup(is_known ? ctl_string(host->manager, "HypervisorState") : "-");
    row[3] = g_strdup(!is_known ? "-" : ctl_bool(host->manager, "HookInstalled") ? "installed" : "missing");
    row[4] = is_known ? g_strdup_printf("%u", host->locks->len) : g_strdup("-");
    row[5] = is_known ? g_strdup_printf("%u", host->migrations->len) : g_strdup("-");
    row[6] = g_strdup(trouble_of(host));
    return row;
}

static JsonObject *
status_to_json(const HostsHost *host)
{
    JsonObject *object = new_object(host);

    if (hosts_failure(host))
        return object;
    json_object_set_object_member(object, "Manager", json_object_ref(host->manager));
    json_object_set_int_member(object, "Locks", host->locks->len);
    json_object_set_int_member(object, "Migrations", host->migrations->len);
    return object;
}

static void
print_status(const GPtrArray *hosts, gboolean quiet)
{
    print_rows(hosts, status_titles, status_row);
}

int
hosts_verb_status(int argc, char **argv, GError **error)
{
    static const Verb verb = {
        .summary = "Shows apmigd, its locks and migrations, one host a line.",
        .work = hosts_look,
        .to_json = status_to_json,
        .print = print_status,
        .get_status = hosts_failure_status,
    };

    return run(&verb, argc, argv, error);
}

/* --- check ---------------------------------------------------------------------------------------- */

/* Its answer is in the status: 0, or #CTL_EXIT_WOULD_DENY; or #APMIG_EXIT_NOT_FOUND where the guest is not. */
static void
ask_for_guest(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;
    GError *error = NULL;
    const char *reason;
    int allowed;

    if (!hosts_connect(host, task->silence_usec))
        return;

    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(host->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "CheckGuest", &error);
    gboolean ok = call && ctl_bus_check(sd_bus_message_append(call, "s", task->guest), &error);
    g_autoptr(sd_bus_message) reply = ok ? hosts_call(host, call, CHECK_USEC, NULL, &error) : NULL;

    if (reply && ctl_bus_check(sd_bus_message_read(reply, "bs", &allowed, &reason), &error)) {
        host->text = g_strdup(reason);
        host->status = allowed ? CTL_EXIT_OK : CTL_EXIT_WOULD_DENY;
        return;
    }
    if (error->code != APMIG_EXIT_NOT_FOUND) {
        hosts_fail_call(host, error);
        return;
    }
    host->status = APMIG_EXIT_NOT_FOUND;
    g_error_free(error);
}

static const char *
guest_word(const HostsHost *host)
{
    if (hosts_failure(host))
        return "unknown";
    return host->status == CTL_EXIT_OK           ? "may move"
           : host->status == CTL_EXIT_WOULD_DENY ? "may not move"
                                                 : "not here";
}

static char **
check_row(const HostsHost *host)
{
    const GError *failure = hosts_failure(host);
    char **row = g_new0(char *, G_N_ELEMENTS(check_titles));

    row[0] = g_strdup(host->name);
    row[1] = g_strdup(guest_word(host));
    row[2] = g_strdup(failure ? failure->message : host->text ? host->text : "");
    return row;
}

static JsonObject *
check_to_json(const HostsHost *host)
{
    JsonObject *object = new_object(host);

    if (hosts_failure(host))
        return object;
    json_object_set_boolean_member(object, "Here", host->status != APMIG_EXIT_NOT_FOUND);
    json_object_set_boolean_member(object, "Allowed", host->status == CTL_EXIT_OK);
    json_object_set_string_member(object, "Reason", host->text ? host->text : "");
    return object;
}

/* That one says no weighs more than that another cannot be asked. */
static int
check_status(const GPtrArray *hosts)
{
    int status = hosts_failure_status(hosts);
    gboolean is_somewhere = FALSE;

    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);

        if (hosts_failure(host))
            continue;
        is_somewhere = is_somewhere || host->status != APMIG_EXIT_NOT_FOUND;
        if (host->status == CTL_EXIT_WOULD_DENY)
            return CTL_EXIT_WOULD_DENY;
    }
    return status || is_somewhere ? status : APMIG_EXIT_NOT_FOUND;
}

static void
print_check(const GPtrArray *hosts, gboolean quiet)
{
    print_rows(hosts, check_titles, check_row);
}

int
hosts_verb_check(int argc, char **argv, GError **error)
{
    static const Verb verb = {
        .argument = "GUEST",
        .summary =
            "Tells on which of the hosts GUEST is, and whether a lock there keeps it from moving: exits with 20 then.",
        .work = ask_for_guest,
        .to_json = check_to_json,
        .print = print_check,
        .get_status = check_status,
    };

    return run(&verb, argc, argv, error);
}

/* --- doctor --------------------------------------------------------------------------------------- */

/* It looks at files of its host, and so it is run there. */
static void
run_doctor(HostsHost *host, gconstpointer data)
{
    static const char *const command[] = {"apmigctl", "doctor", NULL};
    const HostsTask *task = data;

    hosts_run_program(host, task->silence_usec, command);
}

static void
print_doctors(const GPtrArray *hosts, gboolean quiet)
{
    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);
        const GError *failure = hosts_failure(host);
        g_auto(GStrv) lines = g_strsplit(failure ? failure->message : host->text, "\n", -1);

        if (!failure && host->status == 0 && quiet)
            continue;
        printf("%s: %s\n", host->name,
               failure             ? "cannot be asked"
               : host->status == 0 ? "all is well"
                                   : "see below");
        for (guint j = 0; lines[j] && (failure || host->status != 0); j++) {
            g_autofree char *safe = ctl_escape(lines[j]);

            if (*safe)
                printf("    %s\n", safe);
        }
    }
}

static JsonObject *
doctor_to_json(const HostsHost *host)
{
    JsonObject *object = new_object(host);

    json_object_set_boolean_member(object, "Well", !hosts_failure(host) && host->status == 0);
    json_object_set_string_member(object, "Text", hosts_failure(host) ? "" : host->text);
    return object;
}

static int
doctor_status(const GPtrArray *hosts)
{
    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);

        if (!hosts_failure(host) && host->status != 0)
            return CTL_EXIT_FAILURE;
    }
    return hosts_failure_status(hosts);
}

int
hosts_verb_doctor(int argc, char **argv, GError **error)
{
    static const Verb verb = {
        .summary =
            "Runs 'apmigctl doctor' on all hosts, and shows what it says where not all is well: exits with 1 then.",
        .work = run_doctor,
        .to_json = doctor_to_json,
        .print = print_doctors,
        .get_status = doctor_status,
    };

    return run(&verb, argc, argv, error);
}
