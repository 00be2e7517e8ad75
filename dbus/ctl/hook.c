/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hook's decision on a guest that comes in. libvirt waits for it without a limit of its own, so everything
 * here ends at one deadline; and a guest that has nothing to do with crypto comes in whatever apmigd says.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "ctl/bus.h"
#include "base/config.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "guest/xml.h"
#include "names.h"
#include "ctl/options.h"

/* How long a guest that has nothing to do with crypto may wait for apmigd to be told of it. */
#define ANNOUNCE_USEC (250 * 1000)

/* Far more than libvirt writes, which takes 4 MiB at most from its clients: what an earlier hook script printed. That a
 * guest is not affected can be told of a whole XML only. */
#define INPUT_MAX_BYTES (64 * 1024 * 1024)

/* Longer than any [Hook] Timeout=, until it is known. */
#define LONGEST_USEC (62 * G_USEC_PER_SEC)

typedef struct {
    const char *guest;
    const char *operation;
    const char *suboperation;
    const char *extra;
    gboolean restore;
    gint64 deadline; /* monotonic */
    timer_t end;
    gboolean has_end;
    gboolean deny_unreachable;
    gboolean activate; /* apmigd is started when it does not run */
} Hook;

static const char hook_summary[] =
    "Reads the domain XML of a guest that comes in from standard input, as libvirt hands it to its hook "
    "scripts,\n"
    "and exits with 0 to let it in, 1 to refuse it with a line on standard error. Where it gets another "
    "mediated\n"
    "device, its XML with that is printed, for libvirt. Operations other than migrate and restore are let "
    "pass.\n"
    "It ends within [Hook] Timeout= of the configuration.";

/* --- input --------------------------------------------------------------------------------------- */

/* Returns: FALSE at the deadline. */
static gboolean
wait_for_input(const Hook *hook)
{
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    int r;

    do {
        gint64 left = hook->deadline - g_get_monotonic_time();

        r = left > 0 ? poll(&input, 1, (int)((left + 999) / 1000)) : 0;
    } while (r < 0 && errno == EINTR);
    return r != 0;
}

/* What is longer stays unread, which libvirt takes (virCommandProcessIO ignores EPIPE). */
static GByteArray *
read_xml(const Hook *hook, GError **error)
{
    g_autoptr(GByteArray) xml = g_byte_array_new();
    guint8 buffer[65536];
    gssize n = 1;

    while (n > 0 && xml->len <= INPUT_MAX_BYTES) {
        if (!wait_for_input(hook)) {
            g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE,
                                "its XML did not come in time on standard input");
            return NULL;
        }
        n = read(STDIN_FILENO, buffer, MIN(sizeof(buffer), INPUT_MAX_BYTES + 1 - xml->len));
        if (n < 0 && errno == EINTR) {
            n = 1;
        } else if (n < 0) {
            g_set_error(error, CTL_ERROR, CTL_EXIT_FAILURE, "its XML cannot be read from standard input: %s",
                        g_strerror(errno));
            return NULL;
        } else {
            g_byte_array_append(xml, buffer, (guint)n);
        }
    }
    if (xml->len <= INPUT_MAX_BYTES)
        return g_steal_pointer(&xml);
    g_set_error(
        error, CTL_ERROR, CTL_EXIT_FAILURE,
        "the XML on standard input has more than %d bytes; libvirt itself writes no such XML: see what the "
        "hook scripts that run before apmigd's print",
        INPUT_MAX_BYTES);
    return NULL;
}

/* @ret_xml: (out) (transfer full) (nullable): as it came. Returns: (transfer full) (nullable): what may go over the bus. */
static char *
read_guest(const Hook *hook, GByteArray **ret_xml, gboolean *ret_affected, GError **error)
{
    GByteArray *xml = *ret_xml = read_xml(hook, error);
    g_autofree char *reduced = NULL;
    g_autoptr(ApmigGuest) guest = NULL;

    if (!xml)
        return NULL;
    reduced = apmig_guest_reduce((const char *)xml->data, xml->len, error);
    guest = reduced ? apmig_guest_parse(reduced, strlen(reduced), error) : NULL;
    if (!guest)
        return NULL;
    *ret_affected = guest->affected != APMIG_AFFECTED_NO;
    return g_steal_pointer(&reduced);
}

/* --- asking -------------------------------------------------------------------------------------- */

typedef struct {
    gboolean allowed;
    char *reason;
    GHashTable *device_map; /* UUIDs of mediated devices, and of those that take their place */
} Answer;

static void
answer_clear(Answer *answer)
{
    g_clear_pointer(&answer->reason, g_free);
    g_clear_pointer(&answer->device_map, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Answer, answer_clear)

static int
read_device_map(sd_bus_message *reply, GHashTable *map)
{
    const char *own, *device;
    int r = sd_bus_message_enter_container(reply, 'a', "{ss}");

    while (r >= 0 && (r = sd_bus_message_read(reply, "{ss}", &own, &device)) > 0)
        g_hash_table_insert(map, g_strdup(own), g_strdup(device));
    return r < 0 ? r : sd_bus_message_exit_container(reply);
}

/* Over the private socket, which nobody else can clog; over the bus, which starts apmigd, only if nobody listens there.
 * Returns: FALSE without an answer. */
static gboolean
ask(const Hook *hook, const char *xml, Answer *ret_answer, GError **error)
{
    g_autoptr(sd_bus) own = ctl_bus_open_private();
    g_autoptr(sd_bus) bus = own ? g_steal_pointer(&own) : ctl_bus_open_system(error);
    g_autoptr(sd_bus_message) call =
        bus ? ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "AdmitMigration", error) : NULL;
    const char *reason;
    int allowed;

    if (!call ||
        !ctl_bus_check(sd_bus_message_append(call, "sssss", hook->guest, hook->operation, hook->suboperation,
                                             hook->extra, xml),
                       error) ||
        !ctl_bus_check(sd_bus_message_set_auto_start(call, hook->activate), error))
        return FALSE;

    g_autoptr(sd_bus_message) reply =
        ctl_bus_call(bus, call, MAX(hook->deadline - g_get_monotonic_time(), 0), NULL, NULL, error);

    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "bs", &allowed, &reason), error))
        return FALSE;
    ret_answer->allowed = allowed != 0;
    ret_answer->reason = g_strdup(reason);
    ret_answer->device_map = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return ctl_bus_check(read_device_map(reply, ret_answer->device_map), error);
}

/* libvirt does not show the XML of a guest while it comes in: unless apmigd hears of an unaffected one here, it has to
 * count it as one that may be affected. Whether it hears makes no difference to the guest. */
static void
announce(const Hook *hook, const char *xml)
{
    Hook brief = *hook;
    g_auto(Answer) answer = {0};

    brief.deadline = MIN(hook->deadline, g_get_monotonic_time() + ANNOUNCE_USEC);
    brief.activate = FALSE;
    ask(&brief, xml, &answer, NULL);
}

/* --- without an answer --------------------------------------------------------------------------- */

/* By readdir(): GDir takes its errors for the end of the folder. Returns: FALSE: the folder cannot be read, as errno says. */
static gboolean
find_lock_in(const char *path, char **ret_name)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int error;

    if (!dir)
        return FALSE;
    do {
        errno = 0;
        entry = readdir(dir);
    } while (entry && entry->d_name[0] == '.');
    error = errno;
    *ret_name = entry ? g_strdup(entry->d_name) : NULL;
    closedir(dir);
    errno = error;
    return entry || error == 0;
}

static char *
describe_unreadable(const char *path)
{
    return g_strdup_printf("whether there is a lock cannot be read from %s: %s", path, g_strerror(errno));
}

/* Only what is certainly not there is no lock. Returns: (transfer full) (nullable): a clause on a lock, or damage, that the state
 * folder shows. */
static char *
find_lock_on_disk(void)
{
    const char *state_dir = g_getenv("STATE_DIRECTORY");
    g_autofree char *path =
        g_build_filename(state_dir && *state_dir ? state_dir : "/var/lib/apmigd", "locks", NULL);
    g_autofree char *marker = g_build_filename(path, ".in-use", NULL);
    g_autofree char *lock = NULL;

    if (!find_lock_in(path, &lock))
        return errno == ENOENT ? NULL : describe_unreadable(path);
    if (lock)
        return g_strdup_printf("there is a lock, %s/%s", path, lock);
    if (access(marker, F_OK) == 0)
        return g_strdup_printf("locks are missing from %s", path);
    return errno == ENOENT ? NULL : describe_unreadable(marker);
}

static void
say(const Hook *hook, const char *verdict, const char *why)
{
    g_autofree char *guest = ctl_escape(hook->guest);
    g_autofree char *safe = ctl_escape(why);

    fprintf(stderr, "apmigd: guest '%s' %s: %s\n", guest, verdict, safe);
}

static int
deny(const Hook *hook, const char *why)
{
    say(hook, "may not come in", why);
    return CTL_EXIT_FAILURE;
}

/* Only what can be read keeps one out: by "restore" guests come back after a reboot, and of "migrate" the administrator has
 * said so. */
static int
let_in_unlocked(const Hook *hook, const char *problem)
{
    g_autofree char *lock = find_lock_on_disk();

    if (!lock) {
        say(hook, "is let in unasked", problem);
        return CTL_EXIT_OK;
    }

    g_autofree char *why = g_strdup_printf(
        "%s, and %s; start apmigd with 'systemctl start apmigd' and see 'apmigctl status'", problem, lock);

    return deny(hook, why);
}

static int
decide_unasked(const Hook *hook, const GError *error)
{
    gboolean unreachable = g_error_matches(error, CTL_ERROR, CTL_EXIT_UNREACHABLE);
    g_autofree char *problem = unreachable ? g_strdup_printf("apmigd does not answer (%s)", error->message)
                                           : g_strdup(error->message);

    if (hook->restore || (unreachable && !hook->deny_unreachable))
        return let_in_unlocked(hook, problem);
    if (!unreachable)
        return deny(hook, problem);

    g_autofree char *why =
        g_strdup_printf("%s: start it with 'systemctl start apmigd', without which no permit counts, or set "
                        "OnUnreachable=allow in " APMIG_CONFIG_FILE,
                        problem);

    return deny(hook, why);
}

/* --- with one ------------------------------------------------------------------------------------ */

/* What is printed is the guest's XML to libvirt, so it is printed whole or for nothing: a hook that fails is not read. */
static int
let_in(const Hook *hook, const GByteArray *xml, GHashTable *device_map)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *changed = NULL;

    if (g_hash_table_size(device_map) == 0)
        return CTL_EXIT_OK;
    changed = apmig_guest_replace_devices((const char *)xml->data, xml->len, device_map, &error);
    if (!changed)
        return deny(hook, error->message);
    if (fputs(changed, stdout) == EOF || fflush(stdout) == EOF) {
        g_autofree char *why = g_strdup_printf(
            "its XML with another mediated device cannot be handed to libvirt: %s", g_strerror(errno));

        return deny(hook, why);
    }
    return CTL_EXIT_OK;
}

/* --- the end, whatever happens --------------------------------------------------------------------- */

static void
end_after(const Hook *hook, gint64 usec)
{
    const struct itimerspec after = {
        .it_value = {usec / G_USEC_PER_SEC, usec % G_USEC_PER_SEC * 1000},
    };

    if (hook->has_end)
        timer_settime(hook->end, 0, &after, NULL);
}

/* SIGKILL, which ends a process that is stopped as well: then the script decides. */
static void
begin_to_end(Hook *hook)
{
    struct sigevent kill = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};

    hook->has_end = timer_create(CLOCK_MONOTONIC, &kill, &hook->end) == 0;
    end_after(hook, LONGEST_USEC);
}

/* --- the verb ------------------------------------------------------------------------------------ */

/* A broken configuration must not change what happens to guests: then the defaults hold, the strict ones. */
static void
configure(Hook *hook, const char *config_file)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigConfig) config =
        apmig_config_load(config_file ? config_file : APMIG_CONFIG_FILE, config_file != NULL, &error);
    gint64 timeout = config ? config->hook_timeout_usec : 5 * G_USEC_PER_SEC;
    gint64 last = timeout + G_USEC_PER_SEC;
    const struct itimerval alarm = {.it_value = {last / G_USEC_PER_SEC, last % G_USEC_PER_SEC}};

    if (!config) {
        g_autofree char *safe = ctl_escape(error->message);

        fprintf(stderr, "apmigd: %s; the defaults are used\n", safe);
    }
    hook->deadline = g_get_monotonic_time() + timeout;
    hook->deny_unreachable = !config || config->hook_deny_unreachable;
    /* For a call that hangs in spite of the deadline: SIGALRM ends the process, and the script decides. */
    setitimer(ITIMER_REAL, &alarm, NULL);
    end_after(hook, last + G_USEC_PER_SEC);
}

int
ctl_verb_hook(int argc, char **argv, GError **error)
{
    g_autofree char *config_file = NULL;
    const GOptionEntry entries[] = {
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &config_file, "Read FILE instead of " APMIG_CONFIG_FILE,
         "FILE"},
        {NULL},
    };
    const CtlUsage usage = {"NAME OPERATION SUBOPERATION EXTRA", hook_summary, NULL, entries, 4, 4};
    g_autoptr(GByteArray) whole = NULL;
    g_autofree char *xml = NULL;
    g_auto(Answer) answer = {0};
    g_autoptr(GError) problem = NULL;
    gboolean affected = TRUE;

    if (!ctl_parse_options(&argc, &argv, &usage, NULL, error))
        return CTL_EXIT_USAGE;

    Hook hook = {argv[1], argv[2], argv[3], argv[4], g_str_equal(argv[2], "restore"), .activate = TRUE};

    if (!hook.restore && !g_str_equal(hook.operation, "migrate"))
        return CTL_EXIT_OK;
    begin_to_end(&hook);
    configure(&hook, config_file);

    xml = read_guest(&hook, &whole, &affected, &problem);
    if (!affected) {
        if (!hook.restore)
            announce(&hook, xml);
        return CTL_EXIT_OK;
    }
    if (!xml || !ask(&hook, xml, &answer, &problem))
        return decide_unasked(&hook, problem);
    return answer.allowed ? let_in(&hook, whole, answer.device_map) : deny(&hook, answer.reason);
}
