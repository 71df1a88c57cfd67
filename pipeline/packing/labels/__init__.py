"""What tables say of videos: labels of any form to class numbers, splits and groups, for ids that match."""
