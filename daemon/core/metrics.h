/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metrics in a file for the textfile collector of Prometheus' node exporter. Written when something has changed and at
 * most once a second, by a thread, so that a disk that hangs holds up nothing. The file stays when apmigd ends, as locks
 * do: whether apmigd runs is systemd's to tell. Main loop's thread only.
 */
#pragma once

#include "engine/engine.h"

typedef struct ApmigMetrics ApmigMetrics;

/**
 * apmig_metrics_new:
 * @path: of the file, whose folder exists; "PATH.new" beside it is written first, and takes its place
 * @engine: borrowed, to outlive it
 */
ApmigMetrics *apmig_metrics_new(const char *path, const ApmigEngine *engine);
/* @metrics: (nullable), as in all of these */
void apmig_metrics_free(ApmigMetrics *metrics);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigMetrics, apmig_metrics_free)

/* Something that metrics are made of may have changed. */
void apmig_metrics_changed(ApmigMetrics *metrics);
/* One more entry of that kind was logged. */
void apmig_metrics_count(ApmigMetrics *metrics, ApmigLog log);
/* The hook has called. */
void apmig_metrics_hook_called(ApmigMetrics *metrics);
