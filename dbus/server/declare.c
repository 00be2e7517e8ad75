/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DeclareKeys, and what it has in common with a release that declares: who says which master keys there are. */
#include "server/private.h"

/* --- arguments --------------------------------------------------------------------------------------- */

static gboolean
read_evidence(const ApmigOption *option, ApmigEvidenceClass *ret_evidence, GError **error)
{
    g_autofree char *shown = NULL;

    *ret_evidence = APMIG_EVIDENCE_DECLARED;
    if (!option->given || (apmig_evidence_class_from_string(option->text, ret_evidence) &&
                           apmig_evidence_class_is_word(*ret_evidence)))
        return TRUE;
    shown = apmig_text_escape(option->text, APMIG_SHOWN_MAX_BYTES);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "Option \"%s\" is \"%s\": it must be declared or attested.", option->name, shown);
    return FALSE;
}

gboolean
apmig_declarations_read(ApmigDeclarationRequest *request, const GPtrArray *pairs, const ApmigOption *evidence,
                        GError **error)
{
    for (guint i = 0; pairs && i + 1 < pairs->len; i += 2) {
        ApmigDeclaration *declaration =
            apmig_declaration_parse_pair(g_ptr_array_index(pairs, i), g_ptr_array_index(pairs, i + 1), error);

        if (!declaration)
            return FALSE;
        g_ptr_array_add(request->declarations, declaration);
    }
    return read_evidence(evidence, &request->evidence, error);
}

ApmigDeclarationRequest *
apmig_declaration_request_new(void)
{
    ApmigDeclarationRequest *request = g_new0(ApmigDeclarationRequest, 1);

    request->declarations = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_declaration_free);
    return request;
}

void
apmig_declaration_request_free(ApmigDeclarationRequest *request)
{
    g_ptr_array_unref(request->declarations);
    g_free(request);
}

/* @request: gets what the caller says; its texts are borrowed from @message */
static gboolean
read_arguments(ApmigDeclarationRequest *request, sd_bus_message *message, GError **error)
{
    ApmigOption options[] = {{"class", "s"}, {"change-id", "s"}, {NULL}};
    const ApmigOption *change = &options[1];
    g_autoptr(GPtrArray) pairs = apmig_pairs_read(message, "The argument", error);

    if (!pairs || !apmig_options_read(message, options, error) ||
        !apmig_declarations_read(request, pairs, &options[0], error))
        return FALSE;
    if (pairs->len == 0) {
        g_set_error_literal(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                            "No key is declared: name queues and a key class, as in \"04.0012 AES\", with "
                            "the pattern.");
        return FALSE;
    }
    request->change_id = change->given ? change->text : NULL;
    return !change->given ||
           apmig_text_is_presentable(change->text, APMIG_CHANGE_MAX_LENGTH, "Option \"change-id\"",
                                     APMIG_ERROR_INVALID_OPTION, error);
}

/* --- steps ------------------------------------------------------------------------------------------- */

void
apmig_call_declare(ApmigCall *call, const ApmigDeclarationRequest *request, ApmigAnswerFunc answered)
{
    call->answered = answered;
    call->caller = apmig_core_declare_keys(call->server->core, request, apmig_call_replied, call);
}

static void
declared(ApmigCall *call, const ApmigAction *answer)
{
    const GPtrArray *warnings = answer->reply.warnings;
    g_autoptr(sd_bus_message) reply = NULL;
    int r = sd_bus_message_new_method_return(call->message, &reply);

    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "s");
    for (guint i = 0; r >= 0 && i < warnings->len; i++)
        r = apmig_append_text(reply, g_ptr_array_index(warnings, i));
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    apmig_call_send(call, reply, r);
}

/* Returns: (transfer full): of all that is declared. */
static ApmigScope *
find_scope(const ApmigDeclarationRequest *request)
{
    ApmigScope *scope = apmig_scope_new_none();

    for (guint i = 0; i < request->declarations->len; i++) {
        const ApmigDeclaration *declaration = g_ptr_array_index(request->declarations, i);
        ApmigScope *both = apmig_scope_union(scope, declaration->queues);

        apmig_scope_unref(scope);
        scope = both;
    }
    return scope;
}

static void
declare_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    ApmigDeclarationRequest *request = call->data;
    g_autoptr(ApmigScope) scope = find_scope(request);

    apmig_call_log_request(call, call->request, NULL, "declare master keys of AP queues %s (%s)",
                           apmig_scope_to_string(scope), apmig_evidence_class_to_string(request->evidence));
    request->uid = call->uid;
    request->user = name;
    apmig_call_declare(call, request, declared);
}

static void
declare_authorized(ApmigCall *call, const GError *denied)
{
    if (denied)
        apmig_call_fail(call, denied);
    else
        apmig_call_look_up_name(call, declare_with_name);
}

static void
declare_identified(ApmigCall *call, const GError *denied)
{
    call->change_id = g_strdup(((const ApmigDeclarationRequest *)call->data)->change_id);
    apmig_call_authorize(call, call->rule->action, declare_authorized);
}

int
apmig_method_declare_keys(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(ApmigDeclarationRequest) request = apmig_declaration_request_new();
    g_autoptr(GError) error = NULL;

    if (!read_arguments(request, message, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(user_data, message, g_steal_pointer(&request),
                            (GDestroyNotify)apmig_declaration_request_free, declare_identified);
}
