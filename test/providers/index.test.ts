// The built-in policies: names that do not collide, limits that say where they come from.

import { describe, expect, it } from 'vitest'
import { builtinPolicies } from '../../src/providers/index.ts'

describe('the built-in policies', () => {
  it('claim no domain and no host twice', () => {
    for (const field of ['domains', 'mx'] as const) {
      const names = builtinPolicies.flatMap((policy) => policy[field] ?? [])
      expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([])
    }
  })

  it('state limits only with a source and the day it was read', () => {
    for (const policy of builtinPolicies) {
      const limits = [policy.rate, policy.caps, policy.concurrency, policy.messagesPerConnection]
      if (limits.some((limit) => limit !== undefined))
        expect([policy.source, policy.date], policy.name).not.toContain(undefined)
    }
  })

  it('write domains in lower case, one by one', () => {
    for (const domain of builtinPolicies.flatMap((policy) => policy.domains ?? []))
      expect(domain).toMatch(/^[a-z0-9-]+(?:\.[a-z0-9-]+)+$/)
  })
})
