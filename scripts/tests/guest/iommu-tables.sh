#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# No page table of the IOMMU is freed before its range was flushed: in
# vfio/type1, iommufd and the DMA API, at once and with a flush queue.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

to_dma_api() {
	echo "$EDU" >"/sys/bus/pci/devices/$EDU/driver/unbind" &&
		echo dma_api >"/sys/bus/pci/devices/$EDU/driver_override" &&
		echo "$EDU" >/sys/bus/pci/drivers_probe &&
		[ -e "/sys/bus/pci/devices/$EDU/map" ]
}

flush_queue() {
	echo DMA-FQ >"/sys/kernel/iommu_groups/$GROUP/type" &&
		[ "$(cat "/sys/kernel/iommu_groups/$GROUP/type")" = DMA-FQ ]
}

setup_thp
bind_edu
export EDU
t_ktap iommu-tables -f vfio
t "a driver that uses the DMA API loads" insmod /lab/dma_api.ko
t "and takes the device" to_dma_api
t_ktap iommu-tables -f dma_api
t "a flush queue" flush_queue
t_ktap iommu-tables -f dma_api
t "that driver unloads" rmmod dma_api
finish
