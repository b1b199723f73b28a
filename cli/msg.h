/* SPDX-License-Identifier: MIT */
/*
 * msg.h - what esca says on standard error: one sentence
 * that tells what failed, on what, and what to do.
 */
#ifndef ESCA_CLI_MSG_H
#define ESCA_CLI_MSG_H

#include <stdbool.h>

/** msg_error() - "esca: " and the sentence, with a newline. */
void msg_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/**
 * msg_perror() - the same, with ": " and the text of @err
 * (an errno, positive or negative) before the newline.
 */
void msg_perror(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** msg_warn() - "esca: warning: " and the sentence. */
void msg_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/**
 * msg_progress() - a status line that the next one
 * overwrites; nothing where standard error is not a terminal.
 */
void msg_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/**
 * msg_progress_end() - clear the status line, if there is
 * one. msg_error() and msg_warn() do it by themselves.
 */
void msg_progress_end(void);
/** msg_use_color() - may @fd get colours: a terminal, NO_COLOR unset or empty, TERM not dumb. */
bool msg_use_color(int fd);

#endif
