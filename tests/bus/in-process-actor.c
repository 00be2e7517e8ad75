/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "in-process-actor.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "act/worker.h"

typedef struct {
    ApmigActor vtable;
    ApmigActWorker *worker;
    virConnectPtr connection; /* (nullable): the guests live as long as one is open */
    guint64 last_number;
} InProcessActor;

typedef struct {
    ApmigActFunc func;
    gpointer user_data;
} Call;

static void
on_done(const ApmigActTask *task, gpointer data)
{
    const Call *call = data;

    call->func((ApmigActResult)task->reply.result, task->reply.message, call->user_data);
}

/* By way of a packet, as it would be between two processes. */
static void
act(ApmigActor *vtable, const ApmigActOrder *order, ApmigActFunc func, gpointer user_data)
{
    InProcessActor *self = (InProcessActor *)vtable;
    g_autoptr(GBytes) packet = apmig_act_request_new(order, ++self->last_number, g_get_monotonic_time());
    g_autoptr(GError) error = NULL;
    Call *call = g_new(Call, 1);
    ApmigActRequest request;
    char *stamp;

    if (!apmig_act_request_check(g_bytes_get_data(packet, NULL), g_bytes_get_size(packet), &request, &stamp,
                                 &error))
        g_error("%s", error->message);
    *call = (Call){func, user_data};
    apmig_act_worker_run(self->worker, apmig_act_task_new(&request, stamp), on_done, call, g_free);
}

static void
free_actor(ApmigActor *vtable)
{
    InProcessActor *self = (InProcessActor *)vtable;

    apmig_act_worker_free(self->worker);
    g_clear_pointer(&self->connection, virConnectClose);
    g_free(self);
}

static void
make_guest(virConnectPtr connection, const char *path)
{
    g_autofree char *xml = NULL;
    virDomainPtr domain;

    if (!g_file_get_contents(path, &xml, NULL, NULL))
        g_error("%s cannot be read", path);
    domain = virDomainDefineXML(connection, xml);
    if (!domain || virDomainCreate(domain) < 0)
        g_error("%s is no guest: %s", path, virGetLastErrorMessage());
    virDomainFree(domain);
}

static void
make_guests(InProcessActor *self, const char *uri, const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    self->connection = virConnectOpen(uri);
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        make_guest(self->connection, path);
    }
}

ApmigActor *
apmig_in_process_actor_new(const char *uri)
{
    InProcessActor *self = g_new0(InProcessActor, 1);

    self->vtable.act = act;
    self->vtable.free = free_actor;
    self->worker = apmig_act_worker_new(uri);
    if (g_getenv("APMIGD_TEST_GUESTS"))
        make_guests(self, uri, g_getenv("APMIGD_TEST_GUESTS"));
    return &self->vtable;
}
