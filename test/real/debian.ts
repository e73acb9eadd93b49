// Mail servers from Debian's packages: installed where missing, started nowhere but by us.

import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Why a server cannot be had here. */
export class Unavailable extends Error {}

function run(command: string, args: readonly string[], env: Record<string, string> = {}): string {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 300_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...env },
    })
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? String(error)
    throw new Unavailable(`${command} ${args.slice(0, 2).join(' ')}: ${said}`)
  }
}

function needRoot(): void {
  if (process.getuid?.() !== 0) throw new Unavailable('needs root, as mail servers do')
  if (!existsSync('/usr/bin/apt-get')) throw new Unavailable('needs Debian or one of its kin')
}

let updated = false

function update(): void {
  if (updated) return
  run('apt-get', ['update', '-q'])
  updated = true
}

/** Installs packages whose program is missing; their services stay stopped. */
export function install(programs: Readonly<Record<string, string>>): void {
  needRoot()
  const missing = Object.entries(programs).filter(([, program]) => !existsSync(program))
  if (missing.length === 0) return
  update()
  const policy = '/usr/sbin/policy-rc.d'
  const ours = !existsSync(policy)
  if (ours) {
    writeFileSync(policy, '#!/bin/sh\nexit 101\n')
    chmodSync(policy, 0o755)
  }
  try {
    run('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...missing.map(([name]) => name)])
  } finally {
    if (ours) rmSync(policy)
  }
}

/**
 * Unpacks Exim beside the system, because its package and Postfix's exclude each other.
 * Gives the program and the environment it needs.
 */
export function unpackExim(folder: string): { program: string; env: Record<string, string> } {
  needRoot()
  const archives = join(folder, 'archives')
  mkdirSync(join(archives, 'partial'), { recursive: true })
  update()
  const only = ['--download-only', '--no-install-recommends', '-o', `Dir::Cache::archives=${archives}`]
  run('apt-get', ['install', '-q', '-y', '--reinstall', ...only, 'exim4-daemon-light'])
  const packages = readdirSync(archives).filter((file) => file.endsWith('.deb'))
  for (const file of packages) run('dpkg', ['-x', join(archives, file), join(folder, 'exim')])
  const users = run('getent', ['passwd'])
    .split('\n')
    .map((line) => line.split(':')[0])
  // compiled into Debian's Exim, which does not start without it
  if (!users.includes('Debian-exim'))
    run('useradd', ['--system', '--user-group', '--no-create-home', 'Debian-exim'])
  const libraries = readdirSync(join(folder, 'exim/usr/lib')).filter((name) => name.includes('linux'))
  return {
    program: join(folder, 'exim/usr/sbin/exim4'),
    env: { LD_LIBRARY_PATH: libraries.map((name) => join(folder, 'exim/usr/lib', name)).join(':') },
  }
}
