/*
 * The program: argv meets the table of commands.
 */
#include "commands/command.h"

#include "base/banned.h"

/* In the order of `argon help`. */
/* clang-format off */
static const struct command *const commands[] = {
        &command_up,
        &command_init,
        &command_lint,
        &command_exec,
        &command_doctor,
        &command_builds,
        &command_status,
        &command_logs,
        &command_watch,
        &command_rerun,
        &command_cancel,
        &command_trigger,
        &command_backup,
        &command_restore,
        &command_config,
        &command_completion,
        &command_man,
        &command_version,
        &command_help,
};
/* clang-format on */

int main(int argc, char **argv)
{
        return command_main(commands, sizeof(commands) / sizeof(*commands), argc, argv);
}
