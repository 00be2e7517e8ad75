/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree of objects, the same on every bus. */
#include "server/private.h"

int
apmig_tree_register(ApmigServer *server, sd_bus *bus)
{
    int r = sd_bus_add_object_manager(bus, NULL, APMIG_BUS_PATH);

    if (r >= 0)
        r = apmig_manager_register(server, bus);
    if (r >= 0)
        r = apmig_lock_objects_register(server, bus);
    if (r >= 0)
        r = apmig_migration_objects_register(server, bus);
    return r;
}
