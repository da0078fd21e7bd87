/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For the lab's VFIO programs: a container with a device in it, and the "edu"
 * device (1234:11e8), which has a DMA engine.
 */
#ifndef VFIO_LAB_H
#define VFIO_LAB_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define SZ_4K		0x1000ULL
#define SZ_1M		0x100000ULL
#define SZ_2M		0x200000ULL
#define SZ_1G		0x40000000ULL

/* Above the MSI window at 0xfee00000, which type1 refuses, and 1G aligned. */
#define IOVA_BASE	0x100000000ULL

/* The edu device, see docs/specs/edu.txt in QEMU */
#define EDU_ID		0x00
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_CNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_RUN	0x1
#define EDU_CMD_TO_RAM	0x2
#define EDU_BUF		0x40000ULL
/*
 * The buffer is 4 KiB, but QEMU before 9.1 aborts on a transfer that ends
 * exactly at its end: move half a page at a time.
 */
#define EDU_CHUNK	2048ULL
/* The engine answers after 100 ms; ten seconds is a loaded machine. */
#define EDU_TIMEOUT_S	10.0

/**
 * struct lab - a container and its first device
 * @path: of the container, /dev/vfio/vfio or /dev/iommu
 * @container: the container
 * @group: the device's group
 * @bdf: the device's address, once lab_open_edu() has it
 * @device: the device, once lab_open_edu() has it
 * @edu: its registers
 */
struct lab {
	const char *path;
	int container;
	int group;
	const char *bdf;
	int device;
	volatile __u8 *edu;
};

static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline int lab_open_group(const char *group)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		errx(1,
		     "open %s: %m: bind the device to vfio-pci (driver_override), and boot with intel_iommu=on",
		     path);
	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status))
		errx(1, "VFIO_GROUP_GET_STATUS: %m");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		errx(1, "group %s is not viable: bind every device in it to vfio-pci",
		     group);
	return fd;
}

/* A container with @group in it; @iommu is VFIO_TYPE1_IOMMU or ...v2_IOMMU */
static inline void lab_open(struct lab *lab, const char *container, int iommu,
			    const char *group)
{
	lab->path = container;
	lab->container = open(container, O_RDWR | O_CLOEXEC);
	if (lab->container < 0)
		errx(1,
		     "open %s: %m: the kernel needs CONFIG_VFIO_CONTAINER=y and CONFIG_IOMMUFD=y, and you root",
		     container);
	if (!ioctl(lab->container, VFIO_CHECK_EXTENSION, iommu))
		errx(1,
		     "VFIO_CHECK_EXTENSION: no type1 IOMMU: the kernel needs CONFIG_VFIO_IOMMU_TYPE1");

	lab->group = lab_open_group(group);
	if (ioctl(lab->group, VFIO_GROUP_SET_CONTAINER, &lab->container))
		errx(1, "VFIO_GROUP_SET_CONTAINER: %m: is another program using group %s?",
		     group);
	if (ioctl(lab->container, VFIO_SET_IOMMU, iommu))
		errx(1,
		     "VFIO_SET_IOMMU: %m: interrupt remapping is missing? (-device intel-iommu,intremap=on)");
}

static inline __u32 edu_read(struct lab *lab, int reg)
{
	return *(volatile __u32 *)(lab->edu + reg);
}

static inline void edu_write(struct lab *lab, int reg, __u64 val)
{
	*(volatile __u64 *)(lab->edu + reg) = val;
}

/* EDU_CHUNK bytes between the device's buffer and @iova */
static inline void edu_dma(struct lab *lab, __u64 iova, bool to_ram)
{
	double end = now() + EDU_TIMEOUT_S;

	edu_write(lab, EDU_DMA_SRC, to_ram ? EDU_BUF : iova);
	edu_write(lab, EDU_DMA_DST, to_ram ? iova : EDU_BUF);
	edu_write(lab, EDU_DMA_CNT, EDU_CHUNK);
	edu_write(lab, EDU_DMA_CMD, EDU_CMD_RUN | (to_ram ? EDU_CMD_TO_RAM : 0));
	while (edu_read(lab, EDU_DMA_CMD) & EDU_CMD_RUN) {
		if (now() > end)
			errx(1, "the edu device did not finish a transfer at IOVA %#llx in %.0f s",
			     iova, EDU_TIMEOUT_S);
		usleep(1000);
	}
}

/* A pattern of EDU_CHUNK bytes */
static inline void fill(__u8 *p, __u32 seed)
{
	for (__u64 i = 0; i < EDU_CHUNK; i += 4) {
		seed = seed * 1664525 + 1013904223;
		memcpy(p + i, &seed, 4);
	}
}

static inline void lab_open_edu(struct lab *lab, const char *device)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info cfg = {
		.argsz = sizeof(cfg), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	__u16 cmd;

	lab->bdf = device;
	lab->device = ioctl(lab->group, VFIO_GROUP_GET_DEVICE_FD, device);
	if (lab->device < 0)
		errx(1, "VFIO_GROUP_GET_DEVICE_FD %s: %m: is it in that group?",
		     device);
	if (ioctl(lab->device, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(lab->device, VFIO_DEVICE_GET_REGION_INFO, &cfg))
		errx(1, "VFIO_DEVICE_GET_REGION_INFO: %m");

	/* After open, vfio-pci has bus mastering off */
	if (pread(lab->device, &cmd, 2, cfg.offset + PCI_COMMAND) != 2)
		errx(1, "read the PCI command register: %m");
	cmd |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(lab->device, &cmd, 2, cfg.offset + PCI_COMMAND) != 2)
		errx(1, "write the PCI command register: %m");

	lab->edu = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED,
			lab->device, bar.offset);
	if (lab->edu == MAP_FAILED)
		errx(1, "mmap of BAR 0: %m");
	if ((edu_read(lab, EDU_ID) & 0xff) != 0xed)
		errx(1, "%s is not an edu device (id %#x): add -device edu to QEMU",
		     device, edu_read(lab, EDU_ID));
}

/* @size bytes of address space, aligned, with nothing in it */
static inline __u8 *reserve_space(__u64 size, __u64 align)
{
	__u8 *p = mmap(NULL, size + align, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		errx(1, "mmap of %llu bytes of address space: %m", size);
	return (__u8 *)(((uintptr_t)p + align - 1) & ~(align - 1));
}

/* A "name number" line of a file in /proc */
static inline bool read_counter(const char *path, const char *name, __u64 *val)
{
	char line[256], key[64];
	FILE *f = fopen(path, "re");
	bool found = false;

	if (!f)
		errx(1, "open %s: %m: mount proc on /proc", path);
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%63s %llu", key, val) == 2 && !strcmp(key, name);
	fclose(f);
	return found;
}

#endif /* VFIO_LAB_H */
