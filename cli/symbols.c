/* SPDX-License-Identifier: MIT */
/*
 * symbols.c - remember what was mapped where, and turn
 * the pcs of call stacks into functions, files and lines.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LIBDW
#include <elfutils/libdwfl.h>
#endif

#include <analyzer/hash.h>
#include <cli/symbols.h>

/** One line of /proc/PID/maps. */
struct mapping {
	uint64_t lo;
	uint64_t hi;
	uint64_t offset;
	uint32_t name; /* where in the text of the maps its path begins */
	bool exec;
};

/** An address space: its maps as last read, as text and as table. */
struct space {
	uint32_t mm;
	char *text;
	size_t size;
	struct mapping *map;
	size_t n;
	uint64_t ours_lo; /* libesca.so */
	uint64_t ours_hi;
	UT_hash_handle hh;
};

struct symbols {
	struct space *spaces;
};

int symbols_new(struct symbols **sp)
{
	*sp = calloc(1, sizeof(**sp));
	return *sp ? 0 : -ENOMEM;
}

void symbols_free(struct symbols *s)
{
	struct space *a, *next;

	if (!s)
		return;
	HASH_ITER (hh, s->spaces, a, next) {
		HASH_DEL(s->spaces, a);
		free(a->text);
		free(a->map);
		free(a);
	}
	free(s);
}

static struct space *space_of(const struct symbols *s, uint32_t mm)
{
	struct space *a;

	HASH_FIND(hh, s->spaces, &mm, sizeof(mm), a);
	return a;
}

static char *slurp(FILE *f, size_t *size)
{
	char *text = NULL;
	size_t cap = 0, n;

	*size = 0;
	do {
		if (cap - *size < 4097) {
			char *bigger = realloc(text, cap = cap * 2 + 16384);

			if (!bigger) {
				free(text);
				return NULL;
			}
			text = bigger;
		}
		n = fread(text + *size, 1, cap - *size - 1, f);
		*size += n;
	} while (n);
	text[*size] = '\0';
	return text;
}

static bool is_library(const char *path, size_t len)
{
	static const char name[] = "/libesca.so";

	return len >= sizeof(name) - 1 &&
	       !memcmp(path + len - (sizeof(name) - 1), name, sizeof(name) - 1);
}

static void parse_line(struct space *a, const char *line, const char *end)
{
	struct mapping *m = &a->map[a->n];
	char perms[5] = "";
	int at = 0;

	if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %n", &m->lo, &m->hi, perms, &m->offset, &at) <
		    4 ||
	    !at)
		return;
	m->name = (uint32_t)(line + at - a->text);
	m->exec = perms[2] == 'x';
	a->n++;
	if (is_library(line + at, (size_t)(end - line - at))) {
		if (!a->ours_lo || m->lo < a->ours_lo)
			a->ours_lo = m->lo;
		if (m->hi > a->ours_hi)
			a->ours_hi = m->hi;
	}
}

static void parse(struct space *a)
{
	size_t lines = 0;

	for (const char *p = a->text; (p = strchr(p, '\n')); p++)
		lines++;
	free(a->map);
	a->map = calloc(lines + 1, sizeof(*a->map));
	a->n = 0;
	a->ours_lo = a->ours_hi = 0;
	if (!a->map)
		return;
	for (const char *p = a->text, *end; (end = strchr(p, '\n')); p = end + 1)
		parse_line(a, p, end);
}

/*
 * Read the maps of @pid anew. Return: NULL where it is
 * gone or memory is short; what was known stays known.
 */
static struct space *space_read(struct symbols *s, uint32_t mm, pid_t pid)
{
	struct space *a = space_of(s, mm);
	char path[32];
	char *text;
	size_t size;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return NULL;
	text = slurp(f, &size);
	fclose(f);
	if (!text || !size) {
		free(text);
		return NULL;
	}
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a) {
			free(text);
			return NULL;
		}
		a->mm = mm;
		HASH_ADD(hh, s->spaces, mm, sizeof(a->mm), a);
	}
	free(a->text);
	a->text = text;
	a->size = size;
	parse(a);
	return a;
}

static const struct mapping *mapping_at(const struct space *a, uint64_t addr)
{
	for (size_t i = 0; a && i < a->n; i++)
		if (addr >= a->map[i].lo && addr < a->map[i].hi)
			return &a->map[i];
	return NULL;
}

void symbols_see(struct symbols *s, uint32_t mm, pid_t pid, uint64_t pc)
{
	const struct mapping *m = mapping_at(space_of(s, mm), pc);

	if (!m || !m->exec)
		space_read(s, mm, pid);
}

bool symbols_range(struct symbols *s, uint32_t mm, pid_t pid, uint64_t addr, uint64_t *lo,
		   uint64_t *hi)
{
	const struct space *a = space_read(s, mm, pid);
	const struct mapping *m = mapping_at(a, addr);

	if (!m)
		return false;
	*lo = m->lo;
	*hi = m->hi;
	if (m > a->map && !strncmp(a->text + m->name, "[stack]", 7))
		*lo = m[-1].hi;
	return true;
}

bool symbols_is_ours(const struct symbols *s, uint32_t mm, uint64_t pc)
{
	const struct space *a = space_of(s, mm);

	return a && pc >= a->ours_lo && pc < a->ours_hi;
}

#ifdef HAVE_LIBDW
static Dwfl *dwfl_of(const struct space *a)
{
	static char *debuginfo_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_linux_proc_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.debuginfo_path = &debuginfo_path,
	};
	FILE *f = fmemopen(a->text, a->size, "r");
	Dwfl *dwfl = NULL;

	if (!f)
		return NULL;
	unsetenv("DEBUGINFOD_URLS"); /* a recording does not wait for a network */
	dwfl = dwfl_begin(&callbacks);
	if (dwfl) {
		dwfl_report_begin(dwfl);
		dwfl_linux_proc_maps_report(dwfl, f);
		dwfl_report_end(dwfl, NULL, NULL);
	}
	fclose(f);
	return dwfl;
}

static int write_one(Dwfl *dwfl, struct trace_writer *w, pid_t pid, uint64_t pc)
{
	struct trace_symbol sym = {.pc = pc, .pid = (uint32_t)pid};
	Dwfl_Module *mod = dwfl_addrmodule(dwfl, pc - 1);
	const char *module = NULL, *function = NULL, *file = NULL;
	Dwarf_Addr start = 0;
	Dwfl_Line *line;
	GElf_Sym elf_sym;
	GElf_Off off = 0;
	int number = 0;

	if (!mod)
		return trace_put_symbol(w, &sym, "", "", "");
	module = dwfl_module_info(mod, NULL, &start, NULL, NULL, NULL, NULL, NULL);
	function = dwfl_module_addrinfo(mod, pc - 1, &off, &elf_sym, NULL, NULL, NULL);
	sym.offset = function ? off + 1 : pc - start;
	line = dwfl_module_getsrc(mod, pc - 1);
	if (line)
		file = dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL);
	sym.line = file && number > 0 ? (uint32_t)number : 0;
	return trace_put_symbol(w, &sym, module ? module : "", function ? function : "",
				file ? file : "");
}

int symbols_write(struct symbols *s, struct trace_writer *w, uint32_t mm, pid_t pid,
		  const uint64_t *pc, unsigned int n)
{
	const struct space *a = space_of(s, mm);
	Dwfl *dwfl = a ? dwfl_of(a) : NULL;
	int err = 0;

	if (!dwfl)
		return 0;
	for (unsigned int i = 0; i < n && !err; i++)
		err = write_one(dwfl, w, pid, pc[i]);
	dwfl_end(dwfl);
	return err;
}
#else
int symbols_write(struct symbols *s, struct trace_writer *w, uint32_t mm, pid_t pid,
		  const uint64_t *pc, unsigned int n)
{
	const struct space *a = space_of(s, mm);
	char module[4096];
	int err = 0;

	for (unsigned int i = 0; a && i < n && !err; i++) {
		struct trace_symbol sym = {.pc = pc[i], .pid = (uint32_t)pid};
		const struct mapping *m = mapping_at(a, pc[i] - 1);
		const char *name = m ? a->text + m->name : "";

		snprintf(module, sizeof(module), "%.*s", (int)strcspn(name, "\n"), name);
		sym.offset = m ? pc[i] - m->lo + m->offset : 0;
		err = trace_put_symbol(w, &sym, module, "", "");
	}
	return err;
}
#endif
