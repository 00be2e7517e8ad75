/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entry of apmigctl's module: a verb over many hosts where they are named, else over one. */
#include "hosts/main.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "hosts/verbs.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv, GError **error);
} verbs[] = {
    {"lock", hosts_verb_lock},     {"unlock", hosts_verb_unlock}, {"ready", hosts_verb_ready},
    {"wait", hosts_verb_wait},     {"watch", hosts_verb_watch},   {"keys", hosts_verb_keys},
    {"status", hosts_verb_status}, {"list", hosts_verb_list},     {"check", hosts_verb_check},
    {"doctor", hosts_verb_doctor},
};

/* Options that may stand before the verb. */
static const struct {
    const char *name;
    gboolean takes_word;
} leading[] = {
    {"-H", TRUE},       {"--host", TRUE},
    {"--hosts", TRUE},  {"--hosts-file", TRUE},
    {"--except", TRUE}, {"--host-timeout", TRUE},
    {"--json", TRUE},   {"--quiet", FALSE},
    {"-q", FALSE},      {"--no-ask-password", FALSE},
};

/* Returns: how many words the option at the beginning of @words is; 0: it is none that may stand there. */
static int
count_words(const char *const *words)
{
    gsize length = strcspn(words[0], "=");

    for (guint i = 0; i < G_N_ELEMENTS(leading); i++)
        if (strlen(leading[i].name) == length && strncmp(words[0], leading[i].name, length) == 0)
            return leading[i].takes_word && words[0][length] == '\0' ? 2 : 1;
    return 0;
}

static gboolean
names_hosts(int argc, char **argv)
{
    for (int i = 1; i < argc && !g_str_equal(argv[i], "--"); i++)
        if (g_str_equal(argv[i], "--hosts") || g_str_has_prefix(argv[i], "--hosts=") ||
            g_str_equal(argv[i], "--hosts-file") || g_str_has_prefix(argv[i], "--hosts-file="))
            return TRUE;
    return FALSE;
}

/* "--hosts a,b VERB" is "VERB --hosts a,b". Returns: whether there is a verb. */
static gboolean
put_verb_first(int argc, char **argv)
{
    int i = 1, n;
    char *verb;

    while (i < argc && (n = count_words((const char *const *)argv + i)) > 0)
        i += n;
    if (i >= argc)
        return FALSE;
    verb = argv[i];
    memmove(argv + 2, argv + 1, (gsize)(i - 1) * sizeof(*argv));
    argv[1] = verb;
    return TRUE;
}

static int
run_verb(guint verb, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    int status = verbs[verb].run(argc, argv, &error);
    g_autofree char *message = error ? ctl_escape(error->message) : NULL;

    if (error)
        fprintf(stderr, "apmigctl: %s\n", message);
    if (error)
        status = error->domain == CTL_ERROR ? error->code : CTL_EXIT_FAILURE;
    return status;
}

int
hosts_main(int argc, char **argv)
{
    g_autofree char *shown = NULL;

    if (!names_hosts(argc, argv))
        return ctl_main(argc, argv);
    if (!put_verb_first(argc, argv)) {
        fputs("apmigctl: a verb is needed. See 'apmigctl --help'\n", stderr);
        return CTL_EXIT_USAGE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++)
        if (g_str_equal(argv[1], verbs[i].name))
            return run_verb(i, argc - 1, argv + 1);
    shown = ctl_escape(argv[1]);
    fprintf(
        stderr,
        "apmigctl: there is no verb %s over many hosts, only lock, unlock, ready, wait, watch, keys, status, list, "
        "check and doctor\n",
        shown);
    return CTL_EXIT_USAGE;
}
