/* SPDX-License-Identifier: MIT */
/* elf-file.c - read from x86-64 ELF files what decides whether a server's calls can be seen. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cli/elf-file.h>

/* @n things of @size bytes at file offset @off, or NULL if they are not all in the file. */
static const void *at(const struct elf *e, uint64_t off, uint64_t n, uint64_t size)
{
	if (off > e->size || n > (e->size - off) / size || off % _Alignof(uint64_t))
		return NULL;
	return e->map + off;
}

/* The string at file offset @off, if it ends in the file. */
static const char *string_at(const struct elf *e, uint64_t off)
{
	if (off >= e->size || !memchr(e->map + off, 0, e->size - off))
		return NULL;
	return (const char *)e->map + off;
}

/* Where in the file address @addr of the program is, 0 if nowhere. */
static uint64_t offset_of(const struct elf *e, uint64_t addr)
{
	for (size_t i = 0; i < e->nph; i++)
		if (e->ph[i].p_type == PT_LOAD && addr >= e->ph[i].p_vaddr &&
		    addr - e->ph[i].p_vaddr < e->ph[i].p_filesz)
			return addr - e->ph[i].p_vaddr + e->ph[i].p_offset;
	return 0;
}

static void read_tables(struct elf *e, const Elf64_Ehdr *eh)
{
	if (eh->e_phentsize == sizeof(*e->ph))
		e->ph = at(e, eh->e_phoff, eh->e_phnum, sizeof(*e->ph));
	if (e->ph)
		e->nph = eh->e_phnum;
	if (eh->e_shoff && eh->e_shentsize == sizeof(*e->sh))
		e->sh = at(e, eh->e_shoff, eh->e_shnum, sizeof(*e->sh));
	if (e->sh)
		e->nsh = eh->e_shnum;
	for (size_t i = 0; i < e->nph; i++) {
		if (e->ph[i].p_type != PT_DYNAMIC)
			continue;
		e->dyn = at(e, e->ph[i].p_offset, e->ph[i].p_filesz / sizeof(*e->dyn),
			    sizeof(*e->dyn));
		if (e->dyn)
			e->ndyn = e->ph[i].p_filesz / sizeof(*e->dyn);
	}
	for (size_t i = 0; i < e->ndyn && e->dyn[i].d_tag != DT_NULL; i++)
		if (e->dyn[i].d_tag == DT_STRTAB)
			e->strings = offset_of(e, e->dyn[i].d_un.d_ptr);
}

int elf_open(struct elf *e, const char *path)
{
	int ret, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	const Elf64_Ehdr *eh;
	struct stat st;
	void *map;

	memset(e, 0, sizeof(*e));
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(*eh)) {
		close(fd);
		return -ENOEXEC;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	ret = map == MAP_FAILED ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	e->map = map;
	e->size = (size_t)st.st_size;
	eh = map;
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_X86_64) {
		elf_close(e);
		return -ENOEXEC;
	}
	read_tables(e, eh);
	return 0;
}

void elf_close(struct elf *e)
{
	if (e->map)
		munmap((void *)(uintptr_t)e->map, e->size);
	memset(e, 0, sizeof(*e));
}

bool elf_section(const struct elf *e, const char *name)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)e->map;

	if (eh->e_shstrndx >= e->nsh)
		return false;
	for (size_t i = 0; i < e->nsh; i++) {
		const char *s = string_at(e, e->sh[eh->e_shstrndx].sh_offset + e->sh[i].sh_name);

		if (s && !strcmp(s, name))
			return true;
	}
	return false;
}

const char *elf_dynamic(const struct elf *e, int64_t tag, size_t n)
{
	for (size_t i = 0; i < e->ndyn && e->dyn[i].d_tag != DT_NULL; i++)
		if (e->dyn[i].d_tag == tag && !n--)
			return e->strings ? string_at(e, e->strings + e->dyn[i].d_un.d_val) : NULL;
	return NULL;
}

/* The symbols of the sections of @type; @strings: their string table. */
static const Elf64_Sym *symbols(const struct elf *e, uint32_t type, size_t *n, uint64_t *strings)
{
	for (size_t i = 0; i < e->nsh; i++) {
		const Elf64_Sym *sym;

		if (e->sh[i].sh_type != type || e->sh[i].sh_link >= e->nsh)
			continue;
		*n = e->sh[i].sh_size / sizeof(*sym);
		*strings = e->sh[e->sh[i].sh_link].sh_offset;
		sym = at(e, e->sh[i].sh_offset, *n, sizeof(*sym));
		if (sym)
			return sym;
	}
	*n = 0;
	return NULL;
}

bool elf_imports(const struct elf *e, const char *name)
{
	uint64_t strings;
	size_t n;
	const Elf64_Sym *sym = symbols(e, SHT_DYNSYM, &n, &strings);

	for (size_t i = 0; i < n; i++) {
		const char *s;

		if (sym[i].st_shndx != SHN_UNDEF)
			continue;
		s = string_at(e, strings + sym[i].st_name);
		if (s && !strcmp(s, name))
			return true;
	}
	return false;
}

const char *elf_function(const struct elf *e, uint64_t addr)
{
	static const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};

	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		uint64_t strings;
		size_t n;
		const Elf64_Sym *sym = symbols(e, types[k], &n, &strings);

		for (size_t i = 0; i < n; i++)
			if (ELF64_ST_TYPE(sym[i].st_info) == STT_FUNC &&
			    sym[i].st_shndx != SHN_UNDEF && addr >= sym[i].st_value &&
			    addr - sym[i].st_value < sym[i].st_size)
				return string_at(e, strings + sym[i].st_name);
	}
	return NULL;
}

/*
 * Is 0f 05 at @i of the code @p (of @size bytes) likely an instruction, and not the first bytes of
 * a constant or of a distance? Then also which call it makes: "mov $number,%eax" stands before it.
 */
static bool is_syscall(const uint8_t *p, size_t i, size_t size, long *nr)
{
	size_t back = i < 40 ? i : 40;

	if (i + 4 > size || (!p[i + 2] && !p[i + 3]) || back < 5)
		return false;
	if ((p[i - 1] & 0xf8) == 0xb8 || (p[i - 1] & 0xfe) == 0xe8 || (p[i - 2] & 0xfe) == 0xe8 ||
	    (p[i - 2] == 0x0f && (p[i - 1] & 0xf0) == 0x80))
		return false;
	for (size_t k = 5; k <= back; k++) {
		const uint8_t *m = p + i - k;

		if (m[0] == 0xb8 && m[2] < 2 && !m[3] && !m[4]) {
			*nr = m[1] | m[2] << 8;
			return true;
		}
	}
	return false;
}

size_t elf_syscalls(const struct elf *e, struct elf_site *list, size_t max)
{
	size_t found = 0;

	for (size_t k = 0; k < e->nph; k++) {
		const Elf64_Phdr *ph = &e->ph[k];
		const uint8_t *p, *next;

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X) || ph->p_offset > e->size ||
		    ph->p_filesz > e->size - ph->p_offset)
			continue;
		p = e->map + ph->p_offset;
		for (next = p;
		     (next = memmem(next, ph->p_filesz - (size_t)(next - p), "\x0f\x05", 2));
		     next++) {
			size_t i = (size_t)(next - p);
			long nr;

			if (!is_syscall(p, i, ph->p_filesz, &nr))
				continue;
			if (found < max)
				list[found] = (struct elf_site){ph->p_vaddr + i, nr};
			found++;
		}
	}
	return found;
}
