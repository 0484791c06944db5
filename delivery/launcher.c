/* The single file: unpacks itself once for each version, and runs what it unpacked.
 *
 * What is packed is a cpio archive in the "newc" format, compressed by zstd, and lies behind this program, which is
 * linked statically. It is unpacked aside and renamed, with a marker that is written last, into PRICORE_CACHE, or
 * where that is not set into the user's cache, or else into the data folder. Whoever runs a version has its marker
 * locked, shared; who has unpacked a new one removes those that nobody has locked.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zstd.h>

#ifndef NAME
#error "NAME is what the folder is called: pricore-<version>-<digest of what is packed>"
#endif
#ifndef PACKED
#error "PACKED is how many bytes lie behind the program"
#endif
#if !defined UNPACKED || !defined UNPACKED_SHOWN
#error "UNPACKED is how many bytes it takes on a disk, UNPACKED_SHOWN the same for people"
#endif

#define MARKER ".complete"
#define PROGRAM "bin/pricore"
#define PREFIX "pricore-"
#define ASIDE ".pricore-"
#define REASON 1024

static const char damaged[] = "this file is damaged: download it again, and compare its checksum";
static char reasons[4 * REASON]; /* why no place would do, for one line */

static void fail(const char *message)
{
    fprintf(stderr, "error: %s\n", message);
    exit(1);
}

static void reject(const char *place, const char *why)
{
    size_t used = strlen(reasons);
    snprintf(reasons + used, sizeof reasons - used, "%s%s %s", used ? "; " : "", place, why);
}

/* Whether nobody but its owner, who is this user or root, may change what is there. */
static bool is_safe(const struct stat *found)
{
    if (found->st_uid != geteuid() && found->st_uid != 0)
        return false;
    return !(found->st_mode & (S_IWGRP | S_IWOTH));
}

/* A folder whose entries others cannot replace: a sticky one such as /tmp will do. */
static bool is_safe_place(const struct stat *found)
{
    if (found->st_uid != geteuid() && found->st_uid != 0)
        return false;
    return !(found->st_mode & (S_IWGRP | S_IWOTH)) || (found->st_mode & S_ISVTX);
}

static void remove_tree(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        unlinkat(parent, name, 0);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            remove_tree(fd, entry->d_name);
    closedir(folder);
    unlinkat(parent, name, AT_REMOVEDIR);
}

enum { ABSENT = -1, REFUSED = -2 };

/* The version's folder in a place, with its marker locked until this process and what it becomes have ended: a
 * descriptor; ABSENT where there is none, REFUSED with the reason where somebody else could have made it. */
static int hold(int place, const char *shown)
{
    struct stat found;
    int folder = openat(place, NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0 && errno == ENOENT)
        return ABSENT;
    if (folder < 0 || fstat(folder, &found) != 0 || !is_safe(&found)) {
        reject(shown, "has a " NAME " that others can change");
        if (folder >= 0)
            close(folder);
        return REFUSED;
    }
    int marker = openat(folder, MARKER, O_RDONLY | O_NOFOLLOW); /* stays open: the lock goes on with it */
    close(folder);
    if (marker < 0)
        return ABSENT;
    if (flock(marker, LOCK_SH) != 0 || fstat(marker, &found) != 0 || !is_safe(&found) || found.st_nlink == 0) {
        close(marker); /* removed a moment ago */
        return ABSENT;
    }
    return marker;
}

/* Remove the versions that nobody runs, and what was left half unpacked. */
static void remove_unused(int place)
{
    int fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        const char *name = entry->d_name;
        bool aside = !strncmp(name, ASIDE, strlen(ASIDE));
        if (!strcmp(name, NAME) || (!aside && strncmp(name, PREFIX, strlen(PREFIX))))
            continue;
        struct stat found;
        int version = openat(place, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (version < 0)
            continue;
        if (fstat(version, &found) == 0 && found.st_uid == geteuid()) {
            int lock = aside ? version : openat(version, MARKER, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
            if (lock < 0 ? errno == ENOENT : flock(lock, LOCK_EX | LOCK_NB) == 0) {
                if (!aside)
                    unlinkat(version, MARKER, 0); /* first: who waits for the lock sees that it is gone */
                remove_tree(place, name);
            }
            if (lock >= 0 && lock != version)
                close(lock);
        }
        close(version);
    }
    closedir(folder);
}

/* What is packed, as a stream. */
struct stream {
    ZSTD_DCtx *context;
    ZSTD_inBuffer in;
    char *buffer;
    size_t size, from, to;
    bool ended; /* all of it was read, and its checksum is right */
};

static const char *fill(struct stream *stream)
{
    while (stream->from == stream->to) {
        if (stream->ended)
            return damaged; /* more is wanted than there is */
        ZSTD_outBuffer out = {stream->buffer, stream->size, 0};
        size_t result = ZSTD_decompressStream(stream->context, &out, &stream->in);
        if (ZSTD_isError(result) || (result != 0 && out.pos == 0 && stream->in.pos == stream->in.size))
            return damaged;
        stream->ended = result == 0;
        stream->from = 0;
        stream->to = out.pos;
    }
    return NULL;
}

/* Take so many bytes, into memory or into a file where there is one; gives what is wrong, or NULL. */
static const char *take(struct stream *stream, size_t count, char *into, int file)
{
    while (count > 0) {
        const char *wrong = fill(stream);
        if (wrong)
            return wrong;
        size_t part = stream->to - stream->from;
        if (part > count)
            part = count;
        if (into) {
            memcpy(into, stream->buffer + stream->from, part);
            into += part;
        } else if (file >= 0) {
            ssize_t written = write(file, stream->buffer + stream->from, part);
            if (written < 0 && errno == EINTR)
                continue;
            if (written < 0)
                return strerror(errno);
            part = (size_t)written;
        }
        stream->from += part;
        count -= part;
    }
    return NULL;
}

/* Read to the end, where the checksum of all of it is; gives what is wrong, or NULL. */
static const char *finish(struct stream *stream)
{
    while (!stream->ended) {
        stream->from = stream->to;
        const char *wrong = fill(stream);
        if (wrong && !stream->ended)
            return wrong;
    }
    return NULL;
}

static const char *unpack_file(struct stream *stream, int folder, const char *name, mode_t mode, size_t size)
{
    int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0755);
    if (file < 0)
        return strerror(errno);
    const char *wrong = take(stream, size, NULL, file);
    if (close(file) != 0 && !wrong)
        wrong = strerror(errno);
    return wrong;
}

/* What lies behind this program, of PACKED bytes; NULL where it cannot be read, or is not whole. */
static const char *find_packed(void)
{
    struct stat found;
    const char *packed = MAP_FAILED;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (file < 0) /* nothing is mounted there */
        file = open((const char *)getauxval(AT_EXECFN), O_RDONLY | O_CLOEXEC);
    if (file >= 0 && fstat(file, &found) == 0 && found.st_size > PACKED)
        packed = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (file >= 0)
        close(file);
    return packed == MAP_FAILED ? NULL : packed + found.st_size - PACKED;
}

/* Unpack everything into a folder; gives what is wrong, or NULL. */
static const char *unpack(int folder)
{
    static char name[PATH_MAX];
    struct stream stream = {.in = {find_packed(), PACKED, 0}, .size = ZSTD_DStreamOutSize()};
    const char *wrong = NULL;
    if (!stream.in.src)
        return damaged;
    stream.context = ZSTD_createDCtx();
    stream.buffer = malloc(stream.size);
    if (!stream.context || !stream.buffer)
        return "there is no memory left";
    while (!wrong) {
        char head[110], field[9] = "";
        if ((wrong = take(&stream, sizeof head, head, -1)))
            break;
        unsigned long fields[13];
        for (int number = 0; number < 13; number++) {
            memcpy(field, head + 6 + 8 * number, 8);
            fields[number] = strtoul(field, NULL, 16);
        }
        mode_t mode = (mode_t)fields[1];
        size_t size = fields[6], length = fields[11];
        if (memcmp(head, "070701", 6) || length == 0 || length > sizeof name)
            wrong = damaged;
        if (!wrong)
            wrong = take(&stream, length, name, -1);
        if (!wrong && (name[length - 1] != 0 || *name == '/' || strstr(name, "../")))
            wrong = damaged;
        if (!wrong)
            wrong = take(&stream, -(sizeof head + length) & 3, NULL, -1);
        if (wrong)
            break;
        if (!strcmp(name, "TRAILER!!!")) {
            wrong = finish(&stream);
            break;
        }
        if (S_ISDIR(mode))
            wrong = mkdirat(folder, name, 0755) == 0 ? NULL : strerror(errno);
        else
            wrong = unpack_file(&stream, folder, name, mode, size);
        if (!wrong)
            wrong = take(&stream, -size & 3, NULL, -1);
    }
    free(stream.buffer);
    ZSTD_freeDCtx(stream.context);
    return wrong;
}

/* Unpack aside, and rename; gives what is wrong, or NULL. */
static const char *install(int place)
{
    char aside[] = ASIDE "XXXXXX";
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    int folder = -1;
    for (int attempt = 0; folder < 0 && attempt < 100; attempt++) {
        unsigned char chosen[6];
        if (getentropy(chosen, sizeof chosen) != 0)
            return strerror(errno);
        for (size_t number = 0; number < sizeof chosen; number++)
            aside[sizeof aside - 2 - number] = letters[chosen[number] % (sizeof letters - 1)];
        if (mkdirat(place, aside, 0700) == 0)
            folder = openat(place, aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        else if (errno != EEXIST)
            return strerror(errno);
    }
    if (folder < 0)
        return "no folder could be made";
    const char *wrong = NULL;
    if (flock(folder, LOCK_EX | LOCK_NB) != 0) /* who cleans up leaves it alone */
        wrong = strerror(errno);
    if (!wrong)
        wrong = unpack(folder);
    if (!wrong && syncfs(folder) != 0) /* the marker says that all of it is on the disk */
        wrong = strerror(errno);
    if (!wrong) {
        int marker = openat(folder, MARKER, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
        if (marker < 0 || fsync(marker) != 0 || fchmod(folder, 0755) != 0)
            wrong = strerror(errno);
        if (marker >= 0)
            close(marker);
    }
    for (int attempt = 0; !wrong && renameat(place, aside, place, NAME) != 0; attempt++) {
        if (errno != ENOTEMPTY && errno != EEXIST)
            wrong = strerror(errno);
        else if (faccessat(place, NAME "/" MARKER, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || attempt > 2)
            break; /* somebody else was first */
        else
            remove_tree(place, NAME); /* what somebody removed was not all */
    }
    if (faccessat(place, aside, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        remove_tree(place, aside); /* something was wrong, or somebody else was first */
    close(folder);
    return wrong;
}

static bool make_folders(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        int made = mkdir(path, 0700);
        *slash = '/';
        if (made != 0 && errno != EEXIST)
            return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Hold the version in an open place, unpacked if need be: whether that could be done. */
static bool prepare(int place, const char *shown)
{
    struct stat found;
    struct statvfs disk;
    if (fstat(place, &found) != 0 || fstatvfs(place, &disk) != 0) {
        reject(shown, strerror(errno));
        return false;
    }
    if (!is_safe_place(&found)) {
        reject(shown, "is a folder that others can change");
        return false;
    }
    if (disk.f_flag & ST_NOEXEC) {
        reject(shown, "is mounted noexec");
        return false;
    }
    int marker = hold(place, shown);
    for (int attempt = 0; marker == ABSENT && attempt < 3; attempt++) { /* another version may remove it at once */
        const char *wrong = NULL;
        if (disk.f_flag & ST_RDONLY)
            wrong = "is mounted read-only";
        else if ((uint64_t)disk.f_bavail * disk.f_frsize < UNPACKED)
            wrong = "has no room: " UNPACKED_SHOWN " are needed";
        else {
            mode_t before = umask(022);
            wrong = install(place);
            umask(before);
        }
        if (wrong) {
            reject(shown, wrong);
            return false;
        }
        marker = hold(place, shown);
        if (marker >= 0)
            remove_unused(place);
    }
    if (marker == ABSENT)
        reject(shown, "cannot keep it: its files cannot be locked");
    return marker >= 0;
}

/* Run the program out of one place; returns only where that cannot be done, with the reason kept. */
static void run_in(const char *folder, const char *below, int count, char **arguments)
{
    static char shown[PATH_MAX], program[PATH_MAX + 256];
    if (folder == NULL || *folder == 0)
        return;
    if (*folder != '/' || (size_t)snprintf(shown, sizeof shown, "%s%s", folder, below) >= sizeof shown) {
        reject(folder, "is no absolute path");
        return;
    }
    int place = make_folders(shown) ? open(shown, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (place < 0) {
        reject(shown, strerror(errno));
        return;
    }
    if (prepare(place, shown)) {
        snprintf(program, sizeof program, "%s/" NAME "/" PROGRAM, shown);
        static char isolated[] = "-I", as_module[] = "-m", module[] = "pricore";
        char **all = calloc((size_t)count + 5, sizeof *all);
        if (all == NULL)
            fail("there is no memory left");
        char *first[] = {program, isolated, as_module, module};
        memcpy(all, first, sizeof first);
        for (int number = 1; number < count; number++)
            all[3 + number] = arguments[number];
        execv(program, all);
        reject(shown, strerror(errno));
    }
    close(place);
}

int main(int count, char **arguments)
{
    const char *chosen = getenv("PRICORE_CACHE"), *home = getenv("HOME");
    const char *cache = getenv("XDG_CACHE_HOME"), *data = getenv("PRICORE_DATA"), *share = getenv("XDG_DATA_HOME");
    if (chosen && *chosen) {
        run_in(chosen, "", count, arguments);
    } else {
        if (cache && *cache == '/')
            run_in(cache, "/pricore", count, arguments);
        else
            run_in(home, "/.cache/pricore", count, arguments);
        if (data && *data)
            run_in(data, "/program", count, arguments);
        else if (share && *share == '/')
            run_in(share, "/pricore/program", count, arguments);
        else
            run_in(home, "/.local/share/pricore/program", count, arguments);
    }
    fprintf(stderr, "error: there is no place to unpack the program to: %s; set PRICORE_CACHE to a folder of yours in "
                    "which programs may run\n", *reasons ? reasons : "HOME is not set");
    return 1;
}
