/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads nothing when there is no AP bus under the sysfs root; with one, it says that it cannot. */
#include "key-view.h"

#include <unistd.h>

struct ApmigKeyView {
    char *bus_path;
    GPtrArray *readings; /* of GSource: not answered yet */
};

typedef struct {
    ApmigKeyView *view;
    ApmigKeyViewFunc func;
    gpointer user_data;
} Reading;

ApmigKeyView *
apmig_key_view_new(const char *sysfs_root, G_GNUC_UNUSED const char *state_dir,
                   G_GNUC_UNUSED const char *plugin_dir)
{
    ApmigKeyView *view = g_new0(ApmigKeyView, 1);

    view->bus_path = g_build_filename(sysfs_root, "bus", "ap", NULL);
    view->readings = g_ptr_array_new_with_free_func((GDestroyNotify)g_source_unref);
    return view;
}

void
apmig_key_view_free(ApmigKeyView *view)
{
    if (!view)
        return;
    for (guint i = 0; i < view->readings->len; i++)
        g_source_destroy(g_ptr_array_index(view->readings, i));
    g_ptr_array_unref(view->readings);
    g_free(view->bus_path);
    g_free(view);
}

static void
answer_without_bus(const Reading *reading)
{
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    const ApmigApHost host = {.present = FALSE, .cards = none, .queues = none, .devices = none};

    reading->func(&host, none, evidence, NULL, reading->user_data);
}

static gboolean
answer(gpointer user_data)
{
    const Reading *reading = user_data;

    g_ptr_array_remove(reading->view->readings, g_main_current_source());
    if (access(reading->view->bus_path, F_OK) < 0)
        answer_without_bus(reading);
    else
        reading->func(NULL, NULL, NULL, "apmigd cannot read the keys of this host's cards",
                      reading->user_data);
    return G_SOURCE_REMOVE;
}

void
apmig_key_view_read(ApmigKeyView *view, G_GNUC_UNUSED const ApmigScope *scope, ApmigKeyViewFunc func,
                    gpointer user_data)
{
    Reading *reading = g_new(Reading, 1);
    GSource *source = g_idle_source_new();

    *reading = (Reading){view, func, user_data};
    g_source_set_callback(source, answer, reading, g_free);
    g_ptr_array_add(view->readings, source);
    g_source_attach(source, NULL);
}
