// SPDX-License-Identifier: Apache-2.0

/* Field values: many small facts behind one entry point, each with its own type and verdict. */

#include "nvml/abi.h"
#include "nvml/library.h"

enum { MAX_FIELD = 400 }; /* beyond what any driver supports */

static nvmlReturn_t give_uint(nvmlFieldValue_t *field, unsigned value)
{
    field->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
    field->value.uiVal = value;
    return NVML_SUCCESS;
}

static nvmlReturn_t give_ull(nvmlFieldValue_t *field, unsigned long long value)
{
    field->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
    field->value.ullVal = value;
    return NVML_SUCCESS;
}

static unsigned count_links(const struct view *v, enum link_end end)
{
    unsigned n = 0;

    for (unsigned i = 0; i < v->model->nvlink_count; i++)
        n += v->gpu->links[i].end == end;
    return n;
}

static nvmlReturn_t give_link_speed(const struct view *v, nvmlFieldValue_t *field, unsigned link)
{
    if (v->gpu->links[0].end == LINK_NONE)
        return NVML_ERROR_NOT_SUPPORTED;
    if (link >= v->model->nvlink_count)
        return NVML_ERROR_INVALID_ARGUMENT;
    return give_uint(field, v->gpu->links[link].end == LINK_NONE ? 0 : v->model->nvlink_mbps);
}

static nvmlReturn_t give_link(const struct view *v, nvmlFieldValue_t *field)
{
    unsigned link = field->scopeId;

    if (field->fieldId == NVML_FI_DEV_NVSWITCH_CONNECTED_LINK_COUNT)
        return give_uint(field, count_links(v, LINK_SWITCH));
    if (v->gpu->links[0].end == LINK_NONE) /* none, or none that is connected */
        return NVML_ERROR_NOT_SUPPORTED;
    if (field->fieldId == NVML_FI_DEV_NVLINK_LINK_COUNT)
        return give_uint(field, v->model->nvlink_count);
    if (field->fieldId == NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON)
        return v->model->architecture >= GPU_ARCHITECTURE_HOPPER
                   ? NVML_ERROR_NOT_SUPPORTED /* there it is a fact of each link */
                   : give_uint(field, v->model->nvlink_mbps);
    if (link >= v->model->nvlink_count)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (field->fieldId == NVML_FI_DEV_NVLINK_GET_STATE)
        return give_uint(field, v->gpu->links[link].end != LINK_NONE);
    if (field->fieldId == NVML_FI_DEV_NVLINK_GET_VERSION)
        return give_uint(field, abi_nvlink_version(v->model));
    if (field->fieldId == NVML_FI_DEV_NVLINK_GET_SPEED)
        return give_link_speed(v, field, link);
    return NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t give_ecc(const struct view *v, nvmlFieldValue_t *field)
{
    static const struct {
        unsigned type, counter;
    } counters[] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};
    unsigned i = field->fieldId - NVML_FI_DEV_ECC_SBE_VOL_TOTAL;

    if (!v->model->ecc)
        return NVML_ERROR_NOT_SUPPORTED;
    if (field->fieldId <= NVML_FI_DEV_ECC_PENDING)
        return give_ull(field, NVML_FEATURE_ENABLED);
    return give_ull(field, atomic_load(&v->now->ecc_errors[counters[i].type][counters[i].counter]));
}

static nvmlReturn_t give_power(const struct view *v, nvmlFieldValue_t *field)
{
    switch (field->fieldId) {
    case NVML_FI_DEV_POWER_AVERAGE:
    case NVML_FI_DEV_POWER_INSTANT:
        return give_uint(field, load_power_mw(v));
    case NVML_FI_DEV_POWER_MIN_LIMIT:
        return give_uint(field, v->model->power_min_mw);
    case NVML_FI_DEV_POWER_MAX_LIMIT:
        return give_uint(field, v->model->power_max_mw);
    default:
        return give_uint(field, v->model->power_limit_mw);
    }
}

/* Drivers before branch 570 (CUDA 12.8) do not know the field. */
static nvmlReturn_t give_recovery_action(const struct view *v, nvmlFieldValue_t *field)
{
    if (!library_driver_since(v->state, 570))
        return NVML_ERROR_NOT_SUPPORTED;
    return give_uint(field, atomic_load(&v->now->recovery_action));
}

static nvmlReturn_t give(const struct view *v, nvmlFieldValue_t *field)
{
    unsigned id = field->fieldId;

    if (id >= NVML_FI_DEV_NVLINK_SPEED_MBPS_L0 && id <= NVML_FI_DEV_NVLINK_SPEED_MBPS_L5)
        return give_link_speed(v, field, id - NVML_FI_DEV_NVLINK_SPEED_MBPS_L0);
    if (id >= NVML_FI_DEV_NVLINK_SPEED_MBPS_L6 && id <= NVML_FI_DEV_NVLINK_SPEED_MBPS_L11)
        return give_link_speed(v, field, id - NVML_FI_DEV_NVLINK_SPEED_MBPS_L6 + 6);
    if (id >= NVML_FI_DEV_ECC_CURRENT && id <= NVML_FI_DEV_ECC_DBE_AGG_TOTAL)
        return give_ecc(v, field);
    switch (id) {
    case NVML_FI_DEV_NVLINK_LINK_COUNT:
    case NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON:
    case NVML_FI_DEV_NVSWITCH_CONNECTED_LINK_COUNT:
    case NVML_FI_DEV_NVLINK_GET_SPEED:
    case NVML_FI_DEV_NVLINK_GET_STATE:
    case NVML_FI_DEV_NVLINK_GET_VERSION:
        return give_link(v, field);
    case NVML_FI_DEV_POWER_AVERAGE:
    case NVML_FI_DEV_POWER_INSTANT:
    case NVML_FI_DEV_POWER_MIN_LIMIT:
    case NVML_FI_DEV_POWER_MAX_LIMIT:
    case NVML_FI_DEV_POWER_DEFAULT_LIMIT:
    case NVML_FI_DEV_POWER_CURRENT_LIMIT:
    case NVML_FI_DEV_POWER_REQUESTED_LIMIT:
        return give_power(v, field);
    case NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION:
    case NVML_FI_DEV_ENERGY:
        return give_ull(field, load_energy_mj(v));
    case NVML_FI_DEV_MEMORY_TEMP: /* only stacked memory has a sensor */
        return v->model->memory_max_celsius ? give_uint(field, load_celsius(v) + 2)
                                            : NVML_ERROR_NOT_SUPPORTED;
    case NVML_FI_DEV_PCIE_REPLAY_COUNTER:
    case NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER:
        return give_uint(field, 0);
    case NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED: /* from Hopper on */
        return give_uint(field, v->model->architecture >= GPU_ARCHITECTURE_HOPPER);
    case NVML_FI_DEV_IS_MIG_MODE_INDEPENDENT_MIG_QUERY_CAPABLE:
        return v->model->mig.n_slots ? give_uint(field, 1) : NVML_ERROR_NOT_SUPPORTED;
    case NVML_FI_DEV_REMAPPED_COR:
    case NVML_FI_DEV_REMAPPED_UNC:
    case NVML_FI_DEV_REMAPPED_PENDING:
    case NVML_FI_DEV_REMAPPED_FAILURE:
        return v->model->row_remapping ? give_ull(field, 0) : NVML_ERROR_NOT_SUPPORTED;
    case NVML_FI_DEV_RETIRED_SBE:
    case NVML_FI_DEV_RETIRED_DBE:
    case NVML_FI_DEV_RETIRED_PENDING:
    case NVML_FI_DEV_RETIRED_PENDING_SBE:
    case NVML_FI_DEV_RETIRED_PENDING_DBE:
        return v->model->ecc && !v->model->row_remapping ? give_ull(field, 0)
                                                         : NVML_ERROR_NOT_SUPPORTED;
    case NVML_FI_DEV_GET_GPU_RECOVERY_ACTION:
        return give_recovery_action(v, field);
    default:
        return id > MAX_FIELD ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_NOT_SUPPORTED;
    }
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int valuesCount,
                                      nvmlFieldValue_t *values)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!values || valuesCount <= 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < valuesCount; i++) {
        values[i].timestamp = (long long)library_now_us();
        values[i].latencyUsec = 0;
        values[i].nvmlReturn = give(&v, &values[i]);
    }
    return NVML_SUCCESS;
}
