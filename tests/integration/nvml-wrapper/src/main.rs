// SPDX-License-Identifier: Apache-2.0

//! One line for the driver and one for each GPU, with what nvml-wrapper says of it.

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::Nvml;

fn main() -> Result<(), NvmlError> {
    let nvml = Nvml::builder().lib_path("libnvidia-ml.so.1".as_ref()).init()?;

    println!("{} GPUs, driver {}, CUDA {}", nvml.device_count()?, nvml.sys_driver_version()?, nvml.sys_cuda_driver_version()?);
    for index in 0..nvml.device_count()? {
        let gpu = nvml.device_by_index(index)?;
        let memory = gpu.memory_info()?;

        println!(
            "{index}: {}, {}, {} MiB, {} %, {} of {} MHz, {} C, capability {:?}, infoROM {}",
            gpu.name()?,
            gpu.uuid()?,
            memory.total >> 20,
            gpu.utilization_rates()?.gpu,
            gpu.clock_info(Clock::Graphics)?,
            gpu.max_clock_info(Clock::Graphics)?,
            gpu.temperature(TemperatureSensor::Gpu)?,
            gpu.cuda_compute_capability().map(|c| (c.major, c.minor))?,
            gpu.info_rom_image_version()?,
        );
        for process in gpu.running_compute_processes()? {
            if let UsedGpuMemory::Used(bytes) = process.used_gpu_memory {
                println!("  process {}: {} MiB", process.pid, bytes >> 20);
            }
        }
    }
    Ok(())
}
