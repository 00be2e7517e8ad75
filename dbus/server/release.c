/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The release of a lock: options first, then authorization, then what is declared, then the release itself. */
#include "base/sentence.h"
#include "server/private.h"

#include <gio/gio.h>
#include <string.h>

typedef struct {
    char *id;
    gboolean force;
    GPtrArray *declarations; /* of ApmigDeclaration */
    char *warnings;          /* (nullable): to them, once they are made */
} Release;

static void
release_free(gpointer data)
{
    Release *release = data;

    g_free(release->id);
    g_free(release->warnings);
    g_ptr_array_unref(release->declarations);
    g_free(release);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Release, release_free)

static void
on_released(const char *id, const GError *error, gpointer user_data)
{
    apmig_call_finish(user_data, error);
}

static void
release_declared(ApmigCall *call)
{
    const Release *release = call->data;
    g_autoptr(GError) error = NULL;

    if (!apmig_call_find_same_lock(call, &error)) {
        apmig_call_fail(call, error);
        return;
    }
    apmig_call_log_request(call, call->request, NULL, "release lock %s%s", release->id,
                           release->force ? " by force" : "");
    call->caller = apmig_core_release_lock(call->server->core, release->id, release->force, release->warnings,
                                           on_released, call);
}

static void
on_declared(const GPtrArray *warnings, const GError *error, gpointer user_data)
{
    ApmigCall *call = user_data;
    Release *release = call->data;

    call->caller = 0;
    if (error) {
        apmig_call_fail(call, error);
        return;
    }
    release->warnings = apmig_sentence_few(warnings, " ");
    release_declared(call);
}

static void
declare_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    const Release *release = call->data;
    g_autoptr(GError) error = NULL;
    const ApmigLock *lock = apmig_call_find_same_lock(call, &error);

    if (!lock) {
        apmig_call_fail(call, error);
        return;
    }
    apmig_call_log_request(call, "declare", NULL, "declare master keys with the release of lock %s",
                           release->id);
    call->caller = apmig_core_declare_keys(
        call->server->core,
        &(ApmigDeclarationRequest){release->declarations, lock->record->scope, call->uid, name,
                                   lock->record->id, lock->record->change_id},
        on_declared, call);
}

static void
release_now(ApmigCall *call, const GError *denied)
{
    const Release *release = call->data;

    if (denied)
        apmig_call_fail(call, denied);
    else if (release->declarations->len == 0)
        release_declared(call);
    else
        apmig_call_look_up_name(call, declare_with_name);
}

static void
release_owner_settled(ApmigCall *call, const GError *denied)
{
    Release *release = call->data;

    if (!denied && release->force)
        apmig_call_authorize(call, call->rule->force_action, release_now);
    else
        release_now(call, denied);
}

static void
release_identified(ApmigCall *call, const GError *denied)
{
    const Release *release = call->data;

    if (release->force)
        call->request = "force-release";
    apmig_call_authorize_for_lock(call, release->id, release_owner_settled);
}

enum {
    OPTION_FORCE,
    OPTION_DECLARE,
    N_OPTIONS,
};

/* @pairs: (nullable) */
static gboolean
read_declarations(Release *release, const GPtrArray *pairs, GError **error)
{
    for (guint i = 0; pairs && i + 1 < pairs->len; i += 2) {
        ApmigDeclaration *declaration =
            apmig_declaration_parse_pair(pairs->pdata[i], pairs->pdata[i + 1], error);

        if (!declaration)
            return FALSE;
        g_ptr_array_add(release->declarations, declaration);
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
    g_autoptr(Release) release = g_new0(Release, 1);

    release->id = g_strdup(id);
    release->declarations = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_declaration_free);
    if (!apmig_options_read(message, options, &error))
        return apmig_reply_error(message, error);
    pairs = options[OPTION_DECLARE].pairs;
    release->force = options[OPTION_FORCE].flag;
    if (!read_declarations(release, pairs, &error) || !apmig_server_find_living_lock(server, id, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(server, message, g_steal_pointer(&release), release_free, release_identified);
}
