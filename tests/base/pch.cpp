// The one translation unit of smcd_test_pch: its only purpose is to own the precompiled header.
// Floor 4, no protocol.
