/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The release of a lock: options first, then authorization, then what is declared, then the release itself. */
#include "base/sentence.h"
#include "server/private.h"

#include <gio/gio.h>
#include <string.h>

/* What is declared with it, and what came of that. */
typedef struct {
    GPtrArray *declarations; /* of ApmigDeclaration */
    char *warnings;          /* (nullable): to them, once they are made */
} Declared;

static void
declared_free(gpointer data)
{
    Declared *declared = data;

    g_free(declared->warnings);
    g_ptr_array_unref(declared->declarations);
    g_free(declared);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Declared, declared_free)

static void
release_declared(ApmigCall *call)
{
    const Declared *declared = call->data;
    g_autoptr(GError) error = NULL;

    if (!apmig_call_find_same_lock(call, &error)) {
        apmig_call_fail(call, error);
        return;
    }
    apmig_call_log_request(call, call->request, NULL, "release lock %s%s", call->event.release.id,
                           call->event.release.force ? " by force" : "");
    call->event.release.warnings = declared->warnings;
    apmig_call_request(call, NULL);
}

static void
on_declared(ApmigCall *call, const ApmigAction *reply)
{
    ((Declared *)call->data)->warnings = apmig_sentence_few(reply->reply.warnings, " ");
    release_declared(call);
}

static void
declare_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    const Declared *declared = call->data;
    g_autoptr(GError) error = NULL;
    const ApmigLock *lock = apmig_call_find_same_lock(call, &error);

    if (!lock) {
        apmig_call_fail(call, error);
        return;
    }
    apmig_call_log_request(call, "declare", NULL, "declare master keys with the release of lock %s",
                           lock->record->id);
    call->answered = on_declared;
    call->caller = apmig_core_declare_keys(
        call->server->core,
        &(ApmigDeclarationRequest){declared->declarations, lock->record->scope, call->uid, name,
                                   lock->record->id, lock->record->change_id},
        apmig_call_replied, call);
}

static void
release_now(ApmigCall *call, const GError *denied)
{
    const Declared *declared = call->data;

    if (denied)
        apmig_call_fail(call, denied);
    else if (declared->declarations->len == 0)
        release_declared(call);
    else
        apmig_call_look_up_name(call, declare_with_name);
}

static void
release_owner_settled(ApmigCall *call, const GError *denied)
{
    if (!denied && call->event.release.force)
        apmig_call_authorize(call, call->rule->force_action, release_now);
    else
        release_now(call, denied);
}

static void
release_identified(ApmigCall *call, const GError *denied)
{
    if (call->event.release.force)
        call->request = "force-release";
    apmig_call_authorize_for_lock(call, call->event.release.id, release_owner_settled);
}

enum {
    OPTION_FORCE,
    OPTION_DECLARE,
    N_OPTIONS,
};

/* @pairs: (nullable) */
static gboolean
read_declarations(Declared *declared, const GPtrArray *pairs, GError **error)
{
    for (guint i = 0; pairs && i + 1 < pairs->len; i += 2) {
        ApmigDeclaration *declaration =
            apmig_declaration_parse_pair(g_ptr_array_index(pairs, i), g_ptr_array_index(pairs, i + 1), error);

        if (!declaration)
            return FALSE;
        g_ptr_array_add(declared->declarations, declaration);
    }
    return TRUE;
}

int
apmig_release_lock(ApmigServer *server, sd_bus_message *message, const char *id)
{
    ApmigOption options[N_OPTIONS + 1] = {
        [OPTION_FORCE] = {"force", "b"},
        [OPTION_DECLARE] = {"declare-mkvp", "a{ss}"},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) pairs = NULL;
    g_autoptr(Declared) declared = g_new0(Declared, 1);
    ApmigEvent event = {.type = APMIG_EVENT_RELEASE, .release.id = id};

    declared->declarations = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_declaration_free);
    if (!apmig_options_read(message, options, &error))
        return apmig_reply_error(message, error);
    pairs = options[OPTION_DECLARE].pairs;
    event.release.force = options[OPTION_FORCE].flag;
    if (!read_declarations(declared, pairs, &error) || !apmig_server_find_living_lock(server, id, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start_request(server, message, &event, g_steal_pointer(&declared), declared_free,
                                    release_identified);
}
