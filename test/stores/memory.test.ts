import { describe, it } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { storeContract } from '../../src/testing/store-contract.ts'

storeContract({ name: 'memory', create: async () => memoryStore() }, { describe, it })
