/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which situations the runs have met. A simulation that never meets one proves nothing about it.
 */
#include "simulation.h"

void
sim_cover(Sim *sim, Situation situation)
{
    sim->counts[situation]++;
}

gboolean
coverage_report(const guint64 *counts, gboolean print)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SITUATIONS(X)
#undef X
    };
    gboolean complete = TRUE;

    for (guint i = 0; i < N_SITUATIONS; i++) {
        if (print)
            printf("# %10" G_GUINT64_FORMAT "  %s\n", counts[i], texts[i]);
        complete &= counts[i] > 0;
    }
    for (guint i = 0; i < N_SITUATIONS; i++)
        if (!counts[i])
            printf("# never met: %s\n", texts[i]);
    return complete;
}
