/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine's state as metrics, in the text format of Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Names are part of the interface: they are added to.
 */
#pragma once

#include "engine/engine.h"

typedef struct {
    const ApmigEngine *engine;
    const char *const *events; /* of each log entry its name, lower case; NULL: it is not counted */
    const guint64 *counts;     /* how often each was there since the start; both have %APMIG_N_LOGS */
    gint64 started_at;         /* realtime, usec */
    gint64 hook_called_at;     /* realtime, usec; 0: never since the start */
} ApmigMetricsSource;

/* Returns: (transfer full): each metric with its HELP and TYPE; those of every state and event are there, at 0 too. */
char *apmig_metrics_format(const ApmigMetricsSource *source);
