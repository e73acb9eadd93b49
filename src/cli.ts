#!/usr/bin/env node
// The package's bin: finds the command and prints what it returns. Each command is one file under cli/.

import { type CommandResult, EXPLAIN_USAGE, explain } from './cli/explain.ts'
import { SIMULATE_USAGE, simulate } from './cli/simulate.ts'

const COMMANDS: Readonly<
  Record<string, (args: readonly string[]) => CommandResult | Promise<CommandResult>>
> = {
  explain,
  simulate,
}

const USAGE = `usage:\n${EXPLAIN_USAGE}\n\n${SIMULATE_USAGE}`

const [name, ...args] = process.argv.slice(2)
const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
const result: CommandResult =
  command !== undefined
    ? await command(args)
    : name === '--help' || name === '-h'
      ? { out: USAGE, status: 0 }
      : {
          err: `steadymail: expected a command (${Object.keys(COMMANDS).join(', ')}), got ${name ?? 'none'}\n\n${USAGE}`,
          status: 2,
        }
if (result.out !== undefined) process.stdout.write(`${result.out}\n`)
if (result.err !== undefined) process.stderr.write(`${result.err}\n`)
process.exitCode = result.status
