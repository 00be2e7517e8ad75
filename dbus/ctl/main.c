/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apmigctl: the command line of apmigd, for crypto administrators, and what libvirt's hook script calls. program.c loads
 * it, but for that last.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/format.h"

static const struct {
    const char *name;
    const char *arguments;
    const char *summary;
    int (*run)(int argc, char **argv, GError **error);
} verbs[] = {
    {"lock", "SCOPE REASON", "Keep guests from migrating while master keys change", ctl_verb_lock},
    {"unlock", "LOCK", "Release a lock, or cancel one that is not held yet", ctl_verb_unlock},
    {"ready", "[LOCK]", "Read anew, and say whether keys may be changed now", ctl_verb_ready},
    {"extend", "LOCK TIME", "Say anew how long a lock will be needed", ctl_verb_extend},
    {"annotate", "LOCK TEXT", "Add to the reason of a lock", ctl_verb_annotate},
    {"take-over", "LOCK", "Become the owner of somebody else's lock", ctl_verb_take_over},
    {"permit", "[GUEST]", "Let one guest migrate once in spite of locks", ctl_verb_permit},
    {"affected", "SCOPE", "List the guests that a lock would concern", ctl_verb_affected},
    {"wait", "LOCK", "Wait until a lock is held, or has ended", ctl_verb_wait},
    {"watch", "[LOCK]", "Tell what happens to locks, until somebody has to look", ctl_verb_watch},
    {"status", "", "Show apmigd, locks and migrations on one page", ctl_verb_status},
    {"list", "[LOCK]", "List locks, or show one in full", ctl_verb_list},
    {"migrations", "", "List migrations of affected guests in progress", ctl_verb_migrations},
    {"check", "GUEST", "Tell whether a guest could move now, and why not", ctl_verb_check},
    {"unstamp", "GUEST|--all", "Take away what apmigd wrote into a guest's metadata", ctl_verb_unstamp},
    {"queues", "", "List the AP queues of this host, and who uses them", ctl_verb_queues},
    {"keys", "[SCOPE]", "Tell what is known of their master keys", ctl_verb_keys},
    {"declare", "KEY...", "Say which master keys queues have that this host cannot see", ctl_verb_declare},
    {"policy", "", "Show the policy in force, and where each part of it comes from", ctl_verb_policy},
    {"doctor", "", "Tell whether all is in place on this host, and what to do if not", ctl_verb_doctor},
    {"metrics", "", "Tell monitoring by Prometheus what apmigd knows", ctl_verb_metrics},
    {"report", "CHANGE-ID", "Tell what happened during a key change, from the journal", ctl_verb_report},
    {"hook", "ARGUMENTS...", "Decide on a guest that comes in (called by libvirt's hook script)",
     ctl_verb_hook},
};

static void
print_help(FILE *stream)
{
    fputs("Usage: apmigctl VERB [OPTIONS...] [ARGUMENTS...]\n\n"
          "Locks migrations of guests with Crypto Express queues while their master keys change.\n\n"
          "Verbs:\n",
          stream);
    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
        g_autofree char *usage = g_strdup_printf("%s %s", verbs[i].name, verbs[i].arguments);

        fprintf(stream, "  %-20s %s\n", usage, verbs[i].summary);
    }
    fprintf(
        stream,
        "\nOptions:\n"
        "  -H, --host=HOST      Ask the apmigd of HOST, over ssh\n"
        "  --hosts=HOST,...     Ask those of many hosts at once: lock, unlock, ready, wait, watch, keys, status,\n"
        "                       list, check, doctor; see 'apmigctl --hosts=a,b VERB --help'\n"
        "  --hosts-file=FILE    The same, one host a line\n"
        "  --help               Print this; 'apmigctl VERB --help' explains a verb\n"
        "  --version            Print the version\n\n"
        "%s",
        ctl_exit_statuses());
}

static int
usage_error(const char *what, const char *word)
{
    g_autofree char *shown = ctl_escape(word);

    fprintf(stderr, "apmigctl: %s%s. See 'apmigctl --help'\n", what, shown);
    return CTL_EXIT_USAGE;
}

static int
run_verb(guint verb, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    int status = verbs[verb].run(argc, argv, &error);

    return error ? ctl_exit_from_error(error) : status;
}

/* Returns: the place of the verb in @argv; from @argc on: there is none. */
static int
find_verb(int argc, char **argv)
{
    int i = 1;

    while (i < argc && (g_str_equal(argv[i], "-H") || g_str_equal(argv[i], "--host") ||
                        g_str_has_prefix(argv[i], "--host=")))
        i += g_str_has_prefix(argv[i], "--host=") ? 1 : 2;
    return i;
}

/* "-H HOST VERB" is "VERB -H HOST", as with systemctl. */
static void
put_verb_first(char **argv, int verb)
{
    char *name = argv[verb];

    memmove(argv + 2, argv + 1, (gsize)(verb - 1) * sizeof(*argv));
    argv[1] = name;
}

int
ctl_main(int argc, char **argv)
{
    int verb = find_verb(argc, argv);

    if (verb >= argc)
        return usage_error("a verb is needed", "");
    put_verb_first(argv, verb);
    if (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h") || g_str_equal(argv[1], "help")) {
        print_help(stdout);
        return CTL_EXIT_OK;
    }
    if (g_str_equal(argv[1], "--version")) {
        puts("apmigctl " APMIG_VERSION);
        return CTL_EXIT_OK;
    }
    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (g_str_equal(argv[1], verbs[i].name))
            return run_verb(i, argc - 1, argv + 1);
    }
    return usage_error("there is no verb ", argv[1]);
}
