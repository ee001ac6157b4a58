// A connection's part in a VLAN: counted by the device, and given back whatever becomes of it.
// Floor 4.
#include <optional>

#include <gtest/gtest.h>

#include "devices/api/doorbell.hpp"
#include "devices/ism/ism.hpp"
#include "devices/loopback/loopback.hpp"
#include "smcd/runtime/vlan_use.hpp"

namespace smcd::test {
namespace {

class VlanUseTest : public ::testing::Test {
protected:
    std::unique_ptr<dev::DoorbellTable> doorbells_ = *dev::DoorbellTable::create();
    std::unique_ptr<dev::IsmDevice> ism_ = *dev::IsmDevice::create(*doorbells_, {});
};

TEST_F(VlanUseTest, TheDeviceIsInTheVlanAsLongAsAnyConnectionIs) {
    std::optional<VlanUse> first;
    VlanUse second;
    ASSERT_TRUE(first.emplace().begin(*ism_, 5));
    ASSERT_TRUE(second.begin(*ism_, 5));
    first.reset();
    EXPECT_TRUE(ism_->has_vlan_id(5));

    second.end();
    second.end();
    EXPECT_FALSE(ism_->has_vlan_id(5));
}

TEST_F(VlanUseTest, AnotherVlanTakesThePlaceOfTheFirst) {
    VlanUse use;
    ASSERT_TRUE(use.begin(*ism_, 5));
    ASSERT_TRUE(use.begin(*ism_, 6));
    EXPECT_FALSE(ism_->has_vlan_id(5));
    EXPECT_TRUE(ism_->has_vlan_id(6));
}

TEST_F(VlanUseTest, OutsideOfVlansNothingIsAsked) {
    dev::LoopbackDevice loopback(*doorbells_, {});
    VlanUse use;
    EXPECT_TRUE(use.begin(loopback, 0));
    EXPECT_EQ(use.begin(loopback, 5).error(), std::errc::not_supported);
}

TEST_F(VlanUseTest, ADeviceMayRefuse) {
    VlanUse use;
    EXPECT_EQ(use.begin(*ism_, 4095).error(), std::errc::invalid_argument);
    EXPECT_TRUE(ism_->has_vlan_id(dev::kIsmReservedVlan)) << "it speaks version 2";
    ASSERT_TRUE(ism_->disable());
    EXPECT_EQ(use.begin(*ism_, 5).error(), std::errc::no_such_device);
}

} // namespace
} // namespace smcd::test
