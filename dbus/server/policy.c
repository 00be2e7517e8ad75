/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DescribePolicy: the policy in force, and where each part of it comes from. */
#include "server/private.h"

int
apmig_method_describe_policy(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;
    g_autoptr(GError) error = NULL;
    g_autofree char *json = NULL;

    if (!apmig_method_is_free(message, &error))
        return apmig_reply_error(message, error);

    json = apmig_policy_describe(apmig_engine_policy(apmig_core_engine(server->core)));
    return sd_bus_reply_method_return(message, "s", json);
}
