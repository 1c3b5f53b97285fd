// SPDX-License-Identifier: Apache-2.0
#include "cli/topscreen.h"

#include <locale.h>
#include <ncurses.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

struct screen {
    double interval_s;
    topscreen_text_fn *text;
    void *userdata;
    char *shown; /* NULL = not read yet */
    int top;     /* the first line that is shown */
    bool is_over;
};

static volatile sig_atomic_t is_ended;

static void on_signal(int number)
{
    (void)number;
    is_ended = 1;
}

static int count_lines(const char *text)
{
    int n = 0;

    for (const char *at = text ? strchr(text, '\n') : NULL; at; at = strchr(at + 1, '\n'))
        n++;
    return n;
}

static void draw(struct screen *screen)
{
    const char *line = screen->shown ? screen->shown : "";
    const int most = count_lines(screen->shown) - (LINES - 1);

    if (screen->top > most)
        screen->top = most;
    if (screen->top < 0)
        screen->top = 0;
    erase();
    for (int i = 0; i < screen->top && strchr(line, '\n'); i++)
        line = strchr(line, '\n') + 1;
    for (int y = 0; y < LINES - 1 && *line; y++) {
        const size_t length = strcspn(line, "\n");

        mvaddnstr(y, 0, line, (int)length);
        line += length + (line[length] == '\n');
    }
    attron(A_REVERSE);
    mvaddnstr(LINES - 1, 0, most > 0 ? " q: end  arrows, page keys: scroll " : " q: end ", COLS);
    attroff(A_REVERSE);
    refresh();
}

static void read_text(struct screen *screen)
{
    char *text = screen->text((size_t)COLS, screen->userdata);

    if (!text)
        return; /* what was there stays */
    free(screen->shown);
    screen->shown = text;
}

/* ERR: the time is over, or a signal came. */
static void take_key(struct screen *screen, int key)
{
    switch (key) {
    case 'q':
    case 'Q':
        screen->is_over = true;
        break;
    case KEY_UP:
        screen->top--;
        break;
    case KEY_DOWN:
        screen->top++;
        break;
    case KEY_PPAGE:
        screen->top -= LINES - 1;
        break;
    case KEY_NPAGE:
        screen->top += LINES - 1;
        break;
    default:
        break;
    }
}

static void show(struct screen *screen)
{
    uint64_t next_ms = 0;

    while (!screen->is_over && !is_ended) {
        const uint64_t now_ms = clock_now_ms();

        if (now_ms >= next_ms) {
            read_text(screen);
            next_ms = now_ms + (uint64_t)(screen->interval_s * 1000);
        }
        draw(screen);
        timeout((int)(next_ms - now_ms));
        take_key(screen, getch());
    }
}

/* Asked before newterm, which leaks where it fails. */
static bool is_known_terminal(void)
{
    int result;

    if (setupterm(NULL, STDOUT_FILENO, &result) != OK)
        return false;
    del_curterm(cur_term);
    return true;
}

int topscreen_run(double interval_s, topscreen_text_fn *text, void *userdata)
{
    struct screen screen = {.interval_s = interval_s, .text = text, .userdata = userdata};
    const struct sigaction end = {.sa_handler = on_signal}; /* getch returns */
    SCREEN *terminal;

    setlocale(LC_CTYPE, "");
    terminal = is_known_terminal() ? newterm(NULL, stdout, stdin) : NULL;
    if (!terminal)
        return TOPSCREEN_NO_TERMINAL;
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    cbreak();
    noecho();
    keypad(stdscr, true);
    curs_set(0);
    show(&screen);
    endwin();
    delscreen(terminal);
    free(screen.shown);
    return 0;
}
