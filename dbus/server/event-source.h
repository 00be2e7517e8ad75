/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An sd_event loop as a source of a GLib main loop, so that sd-bus works beside what is GLib's: see
 * sd_event_prepare(3).
 */
#pragma once

#include <glib.h>
#include <systemd/sd-event.h>

/**
 * apmig_event_source_new:
 * @event: the source keeps a reference
 *
 * Its callback (a #GSourceFunc, optional) is called once, when the sd_event loop has ended or failed; the
 * source is removed then. What the sd_event loop dispatches runs in the thread of the source's main context.
 *
 * Returns: (transfer full): to be attached by the caller
 */
GSource *apmig_event_source_new(sd_event *event) G_GNUC_WARN_UNUSED_RESULT;
