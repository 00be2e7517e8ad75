/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs seed after seed, for a number of seeds or of seconds, until one breaks a rule; that one is run again and the end of its
 * trace shown.
 */
#include <locale.h>

#include "fleet.h"

typedef struct {
    gint64 first_seed;
    gint64 n_seeds;
    gint64 seconds;
    gboolean trace;
    gboolean expect_violation;
    gboolean coverage;
    gboolean harm_alone;
    gboolean strays;
} Options;

static Sim *
begin(const Options *options, guint64 seed, guint64 *met)
{
    Sim *sim = sim_new(seed, met);

    sim->harm_alone = options->harm_alone;
    sim->strays = options->strays;
    return sim;
}

static void
show_violation(const Options *options, guint64 seed)
{
    guint64 met[N_MET] = {0};
    Sim *sim = begin(options, seed, met);
    char *line;

    sim->trace_tail = g_queue_new();
    sim_run(sim);
    if (!sim->violation)
        printf("# the second run of seed %" G_GUINT64_FORMAT " breaks no rule: it is not deterministic\n",
               seed);
    while ((line = g_queue_pop_head(sim->trace_tail))) {
        printf("# %s\n", line);
        g_free(line);
    }
    printf("# all of it: fleet-simulation --seed %" G_GUINT64_FORMAT " --trace\n", seed);
    sim_free(sim);
}

/* Returns: (transfer full) (nullable): which rule the run broke. */
static char *
run_seed(const Options *options, guint64 seed, guint64 *met, guint64 *events)
{
    Sim *sim = begin(options, seed, met);
    char *violation;

    sim->trace = options->trace ? stdout : NULL;
    sim_run(sim);
    *events += sim->n_events;
    violation = g_steal_pointer(&sim->violation);
    sim_free(sim);
    return violation;
}

/* Returns: whether all occurred, but for what only a store can bring about. */
static gboolean
report_coverage(const guint64 *met)
{
    static const ApmigFleetReasonKind of_a_store[] = {
        APMIG_FLEET_NO_QUESTION,    APMIG_FLEET_STORE_REPLACED, APMIG_FLEET_NO_LOCK,
        APMIG_FLEET_OTHER_DOCUMENT, APMIG_FLEET_NOT_LISTED,
    };
    gboolean complete = TRUE;

    for (guint i = 0; i < N_MET; i++) {
        gboolean may_be_missing = FALSE;

        for (guint j = 0; j < G_N_ELEMENTS(of_a_store); j++)
            may_be_missing |= i == MET_REASON + of_a_store[j];
        printf("# %10" G_GUINT64_FORMAT " %s%s\n", met[i], met_name(i), may_be_missing ? " (a store's)" : "");
        complete &= met[i] > 0 || may_be_missing;
    }
    return complete;
}

static int
run_seeds(const Options *options)
{
    guint64 met[N_MET] = {0};
    guint64 events = 0;
    guint64 seed = (guint64)options->first_seed;
    const gint64 start = g_get_monotonic_time();
    g_autofree char *violation = NULL;
    gboolean as_expected;
    double seconds;

    while (!(violation = run_seed(options, seed, met, &events))) {
        seed++;
        if (options->seconds ? g_get_monotonic_time() - start >= options->seconds * SECOND
                             : seed - (guint64)options->first_seed >= (guint64)options->n_seeds)
            break;
    }
    seconds = (double)(g_get_monotonic_time() - start) / SECOND;
    if (violation && !options->expect_violation && !options->trace)
        show_violation(options, seed);
    printf("# %" G_GUINT64_FORMAT " seeds, %" G_GUINT64_FORMAT " events in %.1f s: %.0f events/s\n",
           seed - (guint64)options->first_seed + (violation != NULL), events, seconds,
           (double)events / MAX(seconds, 1e-6));
    if (violation)
        printf("%s - seed %" G_GUINT64_FORMAT " breaks %s\n", options->expect_violation ? "ok 1" : "not ok 1",
               seed, violation);
    else
        printf("%s - no rule was broken\n", options->expect_violation ? "not ok 1" : "ok 1");
    as_expected = !violation == !options->expect_violation;
    if (options->coverage && !violation) {
        as_expected &= report_coverage(met);
        printf("%s - every situation occurred\n", as_expected ? "ok 2" : "not ok 2");
    }
    printf("1..%d\n", options->coverage && !violation ? 2 : 1);
    return as_expected ? 0 : 1;
}

int
main(int argc, char **argv)
{
    Options options = {.first_seed = -1, .n_seeds = -1};
    const GOptionEntry entries[] = {
        {"seed", 's', 0, G_OPTION_ARG_INT64, &options.first_seed,
         "The first seed (1); without --seeds and --seconds: only this one", "S"},
        {"seeds", 'n', 0, G_OPTION_ARG_INT64, &options.n_seeds, "How many seeds are run (100)", "N"},
        {"seconds", 't', 0, G_OPTION_ARG_INT64, &options.seconds, "Run new seeds for this long instead", "N"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &options.trace, "Print what happens", NULL},
        {"coverage", 0, 0, G_OPTION_ARG_NONE, &options.coverage, "Fail if a situation never occurred", NULL},
        {"expect-violation", 0, 0, G_OPTION_ARG_NONE, &options.expect_violation,
         "Fail unless a rule is broken: the judge is a mutation", NULL},
        {"harm", 0, 0, G_OPTION_ARG_NONE, &options.harm_alone,
         "Pass over rules that are broken, as long as no harm comes of it", NULL},
        {"strays", 0, 0, G_OPTION_ARG_NONE, &options.strays,
         "A release may arrive after its console has died, which no host refuses", NULL},
        {NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- simulate a fleet of hosts and its judge");
    g_autoptr(GError) error = NULL;

    setlocale(LC_ALL, "");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    if (options.n_seeds < 0)
        options.n_seeds = options.first_seed >= 0 ? 1 : 100;
    options.first_seed = MAX(options.first_seed, 1);
    return run_seeds(&options);
}
