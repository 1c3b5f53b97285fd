// SPDX-License-Identifier: Apache-2.0

/* The temperature and the fans of a device. Without fans, the number of a fan is refused. */

#include "nvml/library.h"

enum { FAN_PERCENT = 30, FAN_MAX_RPM = 3000 };

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensorType,
                                      unsigned int *temp)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!temp || sensorType != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    *temp = load_celsius(&v);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!temperature)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (temperature->version != NVML_STRUCT_VERSION_OF(nvmlTemperature_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensorType != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    temperature->temperature = (int)load_celsius(&v);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device,
                                               nvmlTemperatureThresholds_t thresholdType,
                                               unsigned int *temp)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned value = 0;

    if (r)
        return r;
    if (!temp || thresholdType > NVML_TEMPERATURE_THRESHOLD_GPS_CURR)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (thresholdType == NVML_TEMPERATURE_THRESHOLD_SHUTDOWN)
        value = v.model->shutdown_celsius;
    else if (thresholdType == NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
        value = v.model->slowdown_celsius;
    else if (thresholdType == NVML_TEMPERATURE_THRESHOLD_MEM_MAX)
        value = v.model->memory_max_celsius;
    else if (thresholdType == NVML_TEMPERATURE_THRESHOLD_GPU_MAX)
        value = v.model->max_celsius;
    if (!value)
        return NVML_ERROR_NOT_SUPPORTED;
    *temp = value;
    return NVML_SUCCESS;
}

/* One sensor, whichever number is asked for (an H200 under 580). */
nvmlReturn_t nvmlDeviceGetThermalSettings(nvmlDevice_t device, unsigned int sensorIndex,
                                          nvmlGpuThermalSettings_t *pThermalSettings)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!pThermalSettings)
        return NVML_ERROR_INVALID_ARGUMENT;
    *pThermalSettings = (nvmlGpuThermalSettings_t){
        .count = 1,
        .sensor = {{NVML_THERMAL_CONTROLLER_GPU_INTERNAL, 0, 127, (int)load_celsius(&v),
                    NVML_THERMAL_TARGET_GPU}},
    };
    return NVML_SUCCESS;
}

/* How far below the temperature where clocks are reduced. */
nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device,
                                            nvmlMarginTemperature_t *marginTempInfo)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!marginTempInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (marginTempInfo->version != NVML_STRUCT_VERSION_OF(nvmlMarginTemperature_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    marginTempInfo->marginTemperature = (int)v.model->max_celsius - (int)load_celsius(&v);
    return NVML_SUCCESS;
}

/* The device, if it has a fan of that number and there is room for the answer. */
static nvmlReturn_t enter_fan(const char *call, nvmlDevice_t device, unsigned fan, const void *to)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(call, device, &v);

    if (r)
        return r;
    return to && fan < v.model->fans ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned int *speed)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!speed)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!v.model->fans)
        return NVML_ERROR_NOT_SUPPORTED;
    *speed = FAN_PERCENT;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *speed)
{
    nvmlReturn_t r = enter_fan(__func__, device, fan, speed);

    if (r == NVML_SUCCESS)
        *speed = FAN_PERCENT;
    return r;
}

nvmlReturn_t nvmlDeviceGetTargetFanSpeed(nvmlDevice_t device, unsigned int fan,
                                         unsigned int *targetSpeed)
{
    nvmlReturn_t r = enter_fan(__func__, device, fan, targetSpeed);

    if (r == NVML_SUCCESS)
        *targetSpeed = FAN_PERCENT;
    return r;
}

nvmlReturn_t nvmlDeviceGetFanControlPolicy_v2(nvmlDevice_t device, unsigned int fan,
                                              nvmlFanControlPolicy_t *policy)
{
    nvmlReturn_t r = enter_fan(__func__, device, fan, policy);

    if (r == NVML_SUCCESS)
        *policy = NVML_FAN_POLICY_TEMPERATURE_CONTINOUS_SW;
    return r;
}

nvmlReturn_t nvmlDeviceGetMinMaxFanSpeed(nvmlDevice_t device, unsigned int *minSpeed,
                                         unsigned int *maxSpeed)
{
    nvmlReturn_t r = enter_fan(__func__, device, 0, minSpeed);

    if (r == NVML_SUCCESS && !maxSpeed)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (r == NVML_SUCCESS) {
        *minSpeed = FAN_PERCENT;
        *maxSpeed = 100;
    }
    return r;
}

nvmlReturn_t nvmlDeviceGetFanSpeedRPM(nvmlDevice_t device, nvmlFanSpeedInfo_t *fanSpeed)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!fanSpeed)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (fanSpeed->version != NVML_STRUCT_VERSION_OF(nvmlFanSpeedInfo_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (fanSpeed->fan >= v.model->fans)
        return NVML_ERROR_INVALID_ARGUMENT;
    fanSpeed->speed = FAN_MAX_RPM * FAN_PERCENT / 100;
    return NVML_SUCCESS;
}
